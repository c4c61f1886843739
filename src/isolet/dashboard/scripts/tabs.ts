// On a narrow screen the tab that is shown may be beyond the edge of its row.
for (const current of document.querySelectorAll('nav [aria-current="page"]')) {
  current.scrollIntoView({ block: "nearest", inline: "center" });
}
