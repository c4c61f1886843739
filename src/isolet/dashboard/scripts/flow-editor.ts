// <flow-editor>: the graph of a workflow as JSON. What would keep it from being active, and its picture, follow the text.
import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { json, jsonParseLinter } from "@codemirror/lang-json";
import { bracketMatching, foldGutter, foldKeymap, indentOnInput } from "@codemirror/language";
import { linter, lintGutter } from "@codemirror/lint";
import { search, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { Refused, send } from "./api";
import { theme } from "./highlighting";

const WAIT_MS = 600;

class FlowEditor extends HTMLElement {
  #text!: HTMLTextAreaElement;
  #faults!: HTMLElement;
  #timer = 0;
  #asked: AbortController | null = null;
  // Nothing, where the server refused the text that the page came with.
  #saved: string | null = null;

  connectedCallback() {
    this.#text = this.querySelector("textarea")!;
    this.#faults = this.querySelector<HTMLElement>(".faults")!;
    if (this.dataset.unsaved === undefined) this.#saved = this.#text.defaultValue;
    const place = this.querySelector<HTMLElement>(".editor")!;
    place.hidden = false;
    this.#text.hidden = true;
    new EditorView({
      parent: place,
      state: EditorState.create({
        doc: this.#text.value,
        extensions: [
          EditorView.cspNonce.of(this.dataset.nonce!),
          EditorView.contentAttributes.of({ "aria-label": "Graph, JSON", tabindex: "0" }),
          EditorState.readOnly.of(this.dataset.mayChange !== "yes"),
          lineNumbers(),
          foldGutter(),
          history(),
          indentOnInput(),
          bracketMatching(),
          closeBrackets(),
          json(),
          linter(jsonParseLinter()),
          lintGutter(),
          search(),
          theme,
          keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap]),
          EditorView.updateListener.of((update) => {
            if (!update.docChanged) return;
            this.#text.value = update.state.doc.toString();
            this.#later();
          }),
        ],
      }),
    });
    this.querySelector("form")!.addEventListener("submit", () => (this.#saved = this.#text.value));
    addEventListener("beforeunload", this.#leave);
    void this.#check();
  }

  disconnectedCallback() {
    removeEventListener("beforeunload", this.#leave);
    clearTimeout(this.#timer);
    this.#asked?.abort();
  }

  #leave = (event: BeforeUnloadEvent) => {
    if (this.#text.value !== this.#saved) event.preventDefault();
  };

  #later() {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#check(), WAIT_MS);
  }

  async #check() {
    this.#asked?.abort();
    const asked = (this.#asked = new AbortController());
    let definition: unknown;
    try {
      definition = JSON.parse(this.#text.value);
    } catch (error) {
      return this.#say([`This is no JSON: ${(error as Error).message}`]);
    }
    try {
      const reply = await send(this.dataset.token!, "POST", `flows/${this.dataset.flow}/check`, { definition }, { signal: asked.signal });
      const { faults, picture } = await reply.json();
      if (asked.signal.aborted) return;
      this.#say(faults);
      if (picture) this.querySelector("img")!.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(picture);
    } catch (error) {
      if (!asked.signal.aborted) this.#say([error instanceof Refused ? error.message : "The graph could not be checked"]);
    }
  }

  #say(faults: string[]) {
    const list = document.createElement("ul");
    for (const fault of faults.slice(0, 50)) {
      const item = document.createElement("li");
      item.textContent = fault;
      list.append(item);
    }
    const good = document.createElement("p");
    good.className = "quiet";
    good.textContent = "This graph can be active.";
    this.#faults.replaceChildren(faults.length ? list : good);
  }
}
customElements.define("flow-editor", FlowEditor);
