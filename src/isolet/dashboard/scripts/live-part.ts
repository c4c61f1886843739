// <live-part data-seconds="2" hx-get="…" hx-trigger="refresh">: asks for itself anew while it is looked at. htmx's own
// conditions are code, which the policy of the pages does not run.
class LivePart extends HTMLElement {
  #timer = 0;

  connectedCallback() {
    this.#timer = window.setInterval(() => {
      if (!document.hidden) this.dispatchEvent(new CustomEvent("refresh"));
    }, Number(this.dataset.seconds) * 1000);
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
  }
}
customElements.define("live-part", LivePart);
