// <new-calls data-path="functions/…/logs/stream" data-token="…">: says how many calls ended since the list was made. The
// list itself stays as it is until the reader asks for it, so that no row moves under the pointer.
import { events, Refused, send } from "./api";

class NewCalls extends HTMLElement {
  #stop: AbortController | null = null;
  #count = 0;

  connectedCallback() {
    document.addEventListener("visibilitychange", this.#follow);
    this.#follow();
  }

  disconnectedCallback() {
    document.removeEventListener("visibilitychange", this.#follow);
    this.#stop?.abort();
  }

  #follow = () => {
    this.#stop?.abort();
    this.#stop = null;
    if (!document.hidden) void this.#read((this.#stop = new AbortController()));
  };

  async #read(stop: AbortController) {
    while (!stop.signal.aborted) {
      try {
        const reply = await send(this.dataset.token!, "GET", this.dataset.path!, undefined, { signal: stop.signal });
        for await (const event of events(reply)) if (event.name === "end") this.#tell();
      } catch (error) {
        if (error instanceof Refused && error.status < 500) return;
      }
      if (!stop.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 5000));
    }
  }

  #tell() {
    this.#count += 1;
    const link = document.createElement("a");
    link.className = "button";
    link.href = location.pathname + location.search;
    link.textContent = this.#count === 1 ? "1 new call: show it" : `${this.#count} new calls: show them`;
    this.replaceChildren(link);
  }
}

customElements.define("new-calls", NewCalls);
