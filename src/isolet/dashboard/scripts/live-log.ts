// <live-log data-path="functions/…/logs/stream" data-token="…">: lines as they are printed. It stops in a hidden tab
// and goes on behind the last line when the tab is shown again. Lines are text, whatever is in them.
import { events, Refused, send } from "./api";

const MOST = 2000;

class LiveLog extends HTMLElement {
  #stop: AbortController | null = null;
  #last: string | null = null;
  #paused = false;
  #lines!: HTMLElement;
  #state!: HTMLElement;

  connectedCallback() {
    this.#lines = this.querySelector(".lines")!;
    this.#state = this.querySelector(".state")!;
    this.querySelector("[data-pause]")!.addEventListener("click", (event) => this.#pause(event.target as HTMLButtonElement));
    this.querySelector("[data-clear]")!.addEventListener("click", () => this.#lines.replaceChildren());
    document.addEventListener("visibilitychange", this.#follow);
    this.#follow();
  }

  disconnectedCallback() {
    document.removeEventListener("visibilitychange", this.#follow);
    this.#stop?.abort();
  }

  #pause(button: HTMLButtonElement) {
    this.#paused = !this.#paused;
    button.textContent = this.#paused ? "Go on" : "Pause";
    this.#follow();
  }

  #follow = () => {
    this.#stop?.abort();
    this.#stop = null;
    if (document.hidden || this.#paused) {
      this.#state.textContent = "Paused";
      return;
    }
    const stop = (this.#stop = new AbortController());
    void this.#read(stop);
  };

  async #read(stop: AbortController) {
    while (!stop.signal.aborted) {
      try {
        const headers: Record<string, string> = this.#last === null ? {} : { "last-event-id": this.#last };
        const reply = await send(this.dataset.token!, "GET", this.dataset.path!, undefined, { signal: stop.signal, headers });
        this.#state.textContent = "Live";
        for await (const event of events(reply)) this.#show(event);
      } catch (error) {
        if (stop.signal.aborted) return;
        if (error instanceof Refused && error.status < 500) {
          this.#state.textContent = error.message;
          return;
        }
      }
      if (stop.signal.aborted) return;
      this.#state.textContent = "Connecting again…";
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }

  #show(event: { name: string; id: string | null; data: string }) {
    if (event.id !== null) this.#last = event.id;
    const data = JSON.parse(event.data);
    const wanted = this.querySelector<HTMLSelectElement>("[data-level]")?.value;
    let said = data.message;
    if (event.name === "missed") said = `${data.count ?? "Some"} lines were not sent`;
    else if (event.name === "end") said = `${data.error ?? "ended"} · ${data.status_code ?? "–"} · ${Math.round(data.duration_ms)} ms`;
    if (wanted && event.name !== "missed" && data.level !== wanted) return;
    const follows = this.#lines.scrollHeight - this.#lines.scrollTop - this.#lines.clientHeight < 40;
    const line = document.createElement("div");
    line.className = ["debug", "info", "warn", "error"].includes(data.level) ? data.level : "info";
    line.append(part("time", (data.at ?? "").slice(11, 23)), part("span", event.name === "end" ? "end" : data.level ?? "", "level"));
    line.append(part("span", said + (data.stack ? "\n" + data.stack : ""), "said"));
    this.#lines.append(line);
    while (this.#lines.childElementCount > MOST) this.#lines.firstElementChild!.remove();
    if (follows) this.#lines.scrollTop = this.#lines.scrollHeight;
  }
}

function part(tag: string, text: string, kind = ""): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

customElements.define("live-log", LiveLog);
