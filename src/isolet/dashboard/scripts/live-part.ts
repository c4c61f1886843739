// <live-part data-seconds="2" hx-get="…" hx-trigger="refresh" hx-target="#part" hx-select="#part">: asks for a part of its
// page anew while it is looked at. htmx's own conditions are code, which the policy of the pages does not run.
//
// With `data-list` the part is a list, asked for under the address that the page has by then: a search changes it. Rows
// are told apart by their ids. While the pointer or the focus is on the list its rows keep their places, and only what is
// in them follows. Buttons under the pointer or the focus stay what they are: see `morphSkip` in base.html.
const ACTIONS_IN_USE = ".actions:is(:hover, :focus-within)";

class LivePart extends HTMLElement {
  static observedAttributes = ["data-seconds"];
  #timer = 0;

  connectedCallback() {
    this.addEventListener("htmx:before:swap", this.#decide);
    this.attributeChangedCallback();
  }

  attributeChangedCallback() {
    clearInterval(this.#timer);
    if (this.isConnected) this.#timer = window.setInterval(() => this.#ask(), Number(this.dataset.seconds) * 1000);
  }

  disconnectedCallback() {
    this.removeEventListener("htmx:before:swap", this.#decide);
    clearInterval(this.#timer);
  }

  get #isList() {
    return this.dataset.list !== undefined;
  }

  #ask() {
    if (document.hidden) return;
    if (this.#isList) this.setAttribute("hx-get", address());
    this.dispatchEvent(new CustomEvent("refresh"));
  }

  #decide = (event: Event) => {
    const { ctx } = (event as CustomEvent).detail;
    if (ctx.response.raw.redirected) {
      // The session has ended.
      event.preventDefault();
      location.reload();
      return;
    }
    // What is wrong goes to the head of the page.
    if (ctx.hx.retarget) return;
    const page = new DOMParser().parseFromString(ctx.text, "text/html");
    const fresh = page.querySelector(ctx.select);
    const stale = this.#isList && ctx.request.action !== address();
    if (fresh === null || stale) event.preventDefault();
    else if (this.#isList && isHeld(ctx.target) && ids(ctx.target) !== ids(fresh)) {
      event.preventDefault();
      fill(ctx.target, fresh);
    }
    // Nothing changes any more, once all of this is shown.
    else if (!page.querySelector("live-part") && !ctx.target.querySelector(ACTIONS_IN_USE)) this.remove();
  };
}

function address(): string {
  return location.pathname + location.search;
}

function isHeld(list: Element): boolean {
  return ids(list) !== "" && list.matches(":hover, :focus-within");
}

function ids(list: Element): string {
  return [...list.querySelectorAll("tr[id]")].map((row) => row.id).join(" ");
}

function fill(list: Element, fresh: Element) {
  for (const row of fresh.querySelectorAll<HTMLTableRowElement>("tr[id]")) {
    const shown = list.querySelector<HTMLTableRowElement>(`#${CSS.escape(row.id)}`);
    [...row.cells].forEach((cell, place) => {
      const old = shown?.cells[place];
      if (!old || old.matches(`:focus-within, ${ACTIONS_IN_USE}`)) return;
      old.className = cell.className;
      if (old.innerHTML !== cell.innerHTML) old.replaceChildren(...cell.childNodes);
    });
  }
}

customElements.define("live-part", LivePart);
