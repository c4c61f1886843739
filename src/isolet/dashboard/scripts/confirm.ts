// A form that destroys something asks first.
document.addEventListener("submit", (event) => {
  const question = (event.target as HTMLElement).dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});
