// A part of a page that could not be fetched: the page keeps what it shows, and says so above it until a fetch succeeds.
// What the server says itself comes as a part for the same place: see site.py.
const place = () => document.getElementById("trouble");

function say(text: string) {
  const notice = document.createElement("p");
  notice.className = "notice notice-error";
  notice.setAttribute("role", "alert");
  notice.textContent = text;
  if (place()?.textContent !== text) place()?.replaceChildren(notice);
}

addEventListener("htmx:before:swap", (event) => {
  const { response, hx } = (event as CustomEvent).detail.ctx;
  if (response.status >= 400) {
    event.preventDefault();
    say(`This part of the page could not be fetched: the server answered ${response.status}.`);
  } else if (!hx?.retarget) place()?.replaceChildren();
});
addEventListener("htmx:error", (event) => {
  if ((event as CustomEvent).detail.ctx) say("This part of the page could not be fetched: the server does not answer.");
});
