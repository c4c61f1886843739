// <code-editor>: the files of a function, saved and deployed by the API. Everything it shows is set as text.
import { autocompletion, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { javascript, javascriptLanguage, typescriptLanguage } from "@codemirror/lang-javascript";
import { json } from "@codemirror/lang-json";
import { bracketMatching, foldGutter, foldKeymap, indentOnInput } from "@codemirror/language";
import { lintGutter, setDiagnostics } from "@codemirror/lint";
import { unifiedMergeView } from "@codemirror/merge";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { Refused, send } from "./api";
import { type Binding, completeEnv } from "./completion";
import { drop, type Files, find, keep, mark } from "./drafts";
import { theme } from "./highlighting";
import { replaceSelections } from "./typing";

interface DeployError {
  message: string;
  file: string | null;
  line: number | null;
  column: number | null;
}

class CodeEditor extends HTMLElement {
  #saved!: Files;
  #files!: Files;
  #entry!: string;
  #savedEntry!: string;
  #base!: string;
  #open!: string;
  #view!: EditorView;
  #error: DeployError | null = null;
  #compared: Files | null = null;
  #comparing!: HTMLButtonElement;
  #place!: HTMLElement;
  #tabs!: HTMLElement;
  #state!: HTMLElement;
  #notice!: HTMLElement;
  #busy = false;

  connectedCallback() {
    this.#saved = JSON.parse(this.dataset.files!);
    this.#entry = this.#savedEntry = this.dataset.entry!;
    this.#error = JSON.parse(this.dataset.error!);
    this.#files = { ...this.#saved };
    this.#base = mark(this.#saved, this.#savedEntry);
    this.#build();
    const draft = find(this.dataset.function!);
    if (draft && JSON.stringify(draft.files) !== JSON.stringify(this.#saved)) {
      this.#files = draft.files;
      this.#entry = draft.entry;
      const changed = draft.base !== undefined && draft.base !== this.#base;
      if (changed) this.#base = draft.base!;
      const told = `Unsaved text of ${new Date(draft.at).toLocaleString()} was restored.`;
      const warning = " The saved code has changed since: to save or deploy this overwrites it.";
      this.#say(told + (changed ? warning : ""), "", ["Discard it", () => this.#discard()]);
    }
    this.#show(this.#error?.file && this.#error.file in this.#files ? this.#error.file : this.#first());
    addEventListener("beforeunload", this.#leave);
  }

  disconnectedCallback() {
    removeEventListener("beforeunload", this.#leave);
  }

  get #changes(): boolean {
    return JSON.stringify(this.#files) !== JSON.stringify(this.#saved);
  }

  get #mayChange(): boolean {
    return this.dataset.mayChange === "yes";
  }

  #leave = (event: BeforeUnloadEvent) => {
    if (this.#changes) event.preventDefault();
  };

  #first(): string {
    return this.#entry in this.#files ? this.#entry : Object.keys(this.#files)[0];
  }

  #build() {
    const toolbar = make("div", "toolbar");
    if (this.#mayChange) {
      toolbar.append(
        button("Deploy", () => this.#deploy(), "primary"),
        button("Save", () => this.#save()),
        button("Add file", () => this.#add()),
        button("Rename", () => this.#rename()),
        button("Delete file", () => this.#delete()),
      );
    }
    this.#comparing = button("Compare with live", () => this.#compare());
    this.#comparing.hidden = !this.dataset.live;
    toolbar.append(this.#comparing);
    this.#state = make("span", "state");
    toolbar.append(this.#state);
    this.#notice = make("div", "notice");
    this.#notice.setAttribute("role", "status");
    this.#notice.hidden = true;
    this.#tabs = make("div", "files");
    this.#tabs.setAttribute("role", "group");
    this.#tabs.setAttribute("aria-label", "Files");
    this.#place = make("div", "editor");
    this.replaceChildren(toolbar, this.#notice, this.#tabs, this.#place);
  }

  #say(text: string, kind = "", action?: [string, () => void]) {
    this.#notice.hidden = !text;
    this.#notice.className = "notice" + (kind ? ` notice-${kind}` : "");
    this.#notice.setAttribute("role", kind === "error" ? "alert" : "status");
    this.#notice.textContent = text;
    if (action) this.#notice.append(" ", button(action[0], action[1], "link"));
  }

  #show(path: string) {
    this.#open = path;
    const content = this.#files[path];
    const text = typeof content === "string" ? content : `This file is not text (${content.base64.length} characters of base64).`;
    this.#view?.destroy();
    this.#view = new EditorView({ parent: this.#place, state: this.#stateOf(path, text, typeof content === "string") });
    this.#mark();
    this.#refresh();
  }

  #stateOf(path: string, text: string, editable: boolean): EditorState {
    const original = this.#compared?.[path];
    const bindings: Binding[] = JSON.parse(this.dataset.bindings!);
    const complete = completeEnv(bindings);
    return EditorState.create({
      doc: text,
      extensions: [
        EditorView.cspNonce.of(this.dataset.nonce!),
        EditorView.contentAttributes.of({ "aria-label": `Code of ${path}`, tabindex: "0" }),
        EditorState.readOnly.of(!editable || !this.#mayChange),
        lineNumbers(),
        foldGutter(),
        lintGutter(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        autocompletion(),
        highlightActiveLine(),
        highlightSelectionMatches(),
        language(path),
        javascriptLanguage.data.of({ autocomplete: complete }),
        typescriptLanguage.data.of({ autocomplete: complete }),
        theme,
        replaceSelections,
        this.#compared ? unifiedMergeView({ original: typeof original === "string" ? original : "", mergeControls: false }) : [],
        keymap.of([
          { key: "Mod-s", run: () => (void this.#save(), true) },
          { key: "Mod-Enter", run: () => (void this.#deploy(), true) },
          ...completionKeymap,
          ...searchKeymap,
          ...historyKeymap,
          ...foldKeymap,
          ...defaultKeymap,
          // Escape, then Tab leaves the editor with the keyboard.
          indentWithTab,
        ]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) this.#changed(update.state.doc.toString());
        }),
      ],
    });
  }

  #changed(text: string) {
    this.#files[this.#open] = text;
    this.#keep();
    this.#refresh();
  }

  #keep() {
    if (this.#changes) keep(this.dataset.function!, { files: this.#files, entry: this.#entry, at: Date.now(), base: this.#base });
    else drop(this.dataset.function!);
  }

  #refresh() {
    this.#tabs.replaceChildren(
      ...Object.keys(this.#files).map((path) => {
        const changed = this.#files[path] !== this.#saved[path] && JSON.stringify(this.#files[path]) !== JSON.stringify(this.#saved[path]);
        const tab = button(path + (changed ? " •" : ""), () => this.#show(path));
        tab.setAttribute("aria-pressed", String(path === this.#open));
        return tab;
      }),
    );
    if (!this.#busy) this.#state.textContent = this.#changes ? "Not saved" : "Saved";
  }

  #mark() {
    const error = this.#error;
    const diagnostics = [];
    if (error?.line && (error.file ?? this.#entry) === this.#open) {
      const line = this.#view.state.doc.line(Math.min(Math.max(error.line, 1), this.#view.state.doc.lines));
      const from = Math.min(line.from + Math.max(error.column ?? 0, 0), line.to);
      diagnostics.push({ from: Math.min(from, Math.max(line.to - 1, line.from)), to: line.to, severity: "error" as const, message: error.message });
    }
    this.#view.dispatch(setDiagnostics(this.#view.state, diagnostics));
  }

  #fail(error: DeployError) {
    document.getElementById("deploy-error")?.remove();
    this.#error = error;
    const file = error.file ?? this.#entry;
    if (file !== this.#open && file in this.#files) this.#show(file);
    this.#mark();
    this.#say(error.message + (error.line ? ` (${file}, line ${error.line})` : ""), "error");
    if (error.line) {
      const line = this.#view.state.doc.line(Math.min(error.line, this.#view.state.doc.lines));
      this.#view.dispatch({ effects: EditorView.scrollIntoView(line.from, { y: "center" }) });
    }
  }

  async #work(text: string, work: () => Promise<void>) {
    if (this.#busy) return;
    this.#busy = true;
    this.#state.textContent = text;
    for (const one of this.querySelectorAll<HTMLButtonElement>(".toolbar button")) one.disabled = true;
    try {
      await work();
    } catch (error) {
      if (error instanceof Refused && error.code === "deploy_failed") {
        this.#fail({ message: error.message, ...error.details });
        this.#tell("error", this.dataset.live ?? "");
      }
      else this.#say(error instanceof Error ? error.message : String(error), "error");
    } finally {
      this.#busy = false;
      for (const one of this.querySelectorAll<HTMLButtonElement>(".toolbar button")) one.disabled = false;
      this.#refresh();
    }
  }

  async #put() {
    const [files, entry] = [{ ...this.#files }, this.#entry];
    await send(this.dataset.token!, "PUT", `functions/${this.dataset.function}/files`, { files, entry });
    [this.#saved, this.#savedEntry] = [files, entry];
    this.#base = mark(files, entry);
    this.#keep();
  }

  #save() {
    return this.#work("Saving…", async () => {
      await this.#put();
      this.#say("Saved. Deploy makes it live.", "done");
    });
  }

  #deploy() {
    return this.#work("Deploying…", async () => {
      await this.#put();
      const reply = await send(this.dataset.token!, "POST", `functions/${this.dataset.function}/deploy?wait=60`);
      const made = await reply.json();
      document.getElementById("deploy-error")?.remove();
      this.#tell(made.status, made.version);
      this.dataset.live = String(made.version);
      this.#comparing.hidden = false;
      this.#error = null;
      if (this.#compared) {
        this.#compared = this.#saved;
        this.#show(this.#open);
      } else this.#mark();
      this.#say(made.status === "deployed" ? `Version ${made.version} is live.` : "The deploy goes on.", "done");
    });
  }

  // At the head of the page.
  #tell(status: string, version: string | number) {
    const badge = make("span", `badge badge-${status}`);
    badge.textContent = status;
    const number = make("span", "quiet");
    number.textContent = version === "" ? "" : ` version ${version}`;
    document.getElementById("function-state")!.replaceChildren(badge, number);
  }

  #discard() {
    drop(this.dataset.function!);
    this.#unask();
    this.#base = mark(this.#saved, this.#savedEntry);
    this.#files = { ...this.#saved };
    this.#entry = this.#savedEntry;
    this.#say("");
    this.#show(this.#first());
  }

  // Asks for a path between the toolbar and the files.
  #ask(title: string, path: string, use: (path: string) => void) {
    this.#unask();
    const form = make("form", "row asked") as HTMLFormElement;
    const label = document.createElement("label");
    const input = document.createElement("input");
    label.textContent = title;
    input.id = label.htmlFor = "asked-path";
    input.className = "mono";
    input.value = path;
    input.required = true;
    input.maxLength = 200;
    input.spellcheck = false;
    const field = make("div", "");
    field.append(label, input);
    const done = button("OK", () => undefined, "primary");
    done.type = "submit";
    form.append(field, done, button("Cancel", () => form.remove()));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.remove();
      use(input.value.trim());
    });
    this.#tabs.before(form);
    input.focus();
    input.select();
  }

  #unask() {
    this.querySelector(".asked")?.remove();
  }

  #add() {
    this.#ask("Path of the new file", "lib.js", (path) => {
      if (!path) return;
      if (!(path in this.#files)) this.#files[path] = "";
      this.#keep();
      this.#show(path);
      this.#view.focus();
    });
  }

  #rename() {
    const before = this.#open;
    this.#ask("New path", before, (path) => {
      if (!path || path === before || path in this.#files) return;
      this.#files = Object.fromEntries(Object.entries(this.#files).map(([name, file]) => [name === before ? path : name, file]));
      if (this.#entry === before) this.#entry = path;
      this.#keep();
      this.#show(path);
    });
  }

  #delete() {
    if (Object.keys(this.#files).length === 1) return this.#say("A function needs one file at least.", "error");
    if (!window.confirm(`Delete ${this.#open}?`)) return;
    // It may be about this file.
    this.#unask();
    const { [this.#open]: _, ...rest } = this.#files;
    this.#files = rest;
    if (!(this.#entry in rest)) this.#entry = Object.keys(rest)[0];
    this.#keep();
    this.#show(this.#first());
  }

  #compare() {
    if (this.#compared) {
      this.#compared = null;
      this.#comparing.textContent = "Compare with live";
      this.#show(this.#open);
      return;
    }
    return this.#work("Comparing…", async () => {
      const reply = await send(this.dataset.token!, "GET", `functions/${this.dataset.function}/files?version=${this.dataset.live}`);
      this.#compared = (await reply.json()).files;
      this.#comparing.textContent = "Stop comparing";
      this.#show(this.#open);
    });
  }
}

function language(path: string) {
  if (/\.json$/.test(path)) return json();
  return javascript({ typescript: /\.[cm]?tsx?$/.test(path), jsx: /x$/.test(path) });
}

function make(tag: string, kind: string): HTMLElement {
  const made = document.createElement(tag);
  made.className = kind;
  return made;
}

function button(text: string, act: () => unknown, kind = ""): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.className = kind;
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

customElements.define("code-editor", CodeEditor);
