// <live-part data-seconds="2" hx-get="…" hx-trigger="refresh" hx-target="#part" hx-select="#part">: asks for a part of its
// page anew while it is looked at. htmx's own conditions are code, which the policy of the pages does not run.
//
// With `data-list` the part is a list, asked for under the address that the page has by then: a search changes it. Rows
// are told apart by their ids. While the pointer or the focus is on the list its rows keep their places, and only what is
// in them follows.
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
    const fresh = new DOMParser().parseFromString(ctx.text, "text/html").querySelector(ctx.select);
    const stale = this.#isList && ctx.request.action !== address();
    if (fresh === null || stale) event.preventDefault();
    else if (this.#isList && isHeld(ctx.target) && ids(ctx.target) !== ids(fresh)) {
      event.preventDefault();
      fill(ctx.target, fresh);
    }
  };
}

function address(): string {
  return location.pathname + location.search;
}

function isHeld(list: Element): boolean {
  return list.matches(":hover, :focus-within");
}

function ids(list: Element): string {
  return [...list.querySelectorAll("tr[id]")].map((row) => row.id).join(" ");
}

function fill(list: Element, fresh: Element) {
  for (const row of fresh.querySelectorAll<HTMLTableRowElement>("tr[id]")) {
    const shown = list.querySelector<HTMLTableRowElement>(`#${CSS.escape(row.id)}`);
    [...row.cells].forEach((cell, place) => {
      const old = shown?.cells[place];
      if (old && old.innerHTML !== cell.innerHTML && !old.matches(":focus-within")) old.replaceChildren(...cell.childNodes);
    });
  }
}

customElements.define("live-part", LivePart);
