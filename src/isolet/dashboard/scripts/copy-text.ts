// <copy-text data-text="…"><button>Copy</button></copy-text>
class CopyText extends HTMLElement {
  connectedCallback() {
    const button = this.querySelector("button");
    button?.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(this.dataset.text ?? "");
        button.textContent = "Copied";
      } catch {
        button.textContent = "Cannot copy";
      }
    });
  }
}
customElements.define("copy-text", CopyText);
