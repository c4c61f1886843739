// <sql-history data-place="project/database">: the statements that were run from this browser, newest first. They stay
// in the browser.
const MOST = 20;

class SqlHistory extends HTMLElement {
  connectedCallback() {
    const key = `isolet.sql.${this.dataset.place}`;
    const text = this.querySelector("textarea")!;
    this.querySelector("form")!.addEventListener("submit", () => {
      this.#write(key, [text.value, ...this.#read(key).filter((one) => one !== text.value)].slice(0, MOST));
    });
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.querySelector("form")!.requestSubmit();
    });
    const list = this.querySelector("ol")!;
    const found = this.#read(key);
    this.querySelector<HTMLElement>("details")!.hidden = found.length === 0;
    for (const sql of found) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "link mono";
      button.textContent = sql;
      button.addEventListener("click", () => {
        text.value = sql;
        text.focus();
      });
      const item = document.createElement("li");
      item.append(button);
      list.append(item);
    }
  }

  #read(key: string): string[] {
    try {
      const found = JSON.parse(localStorage.getItem(key) ?? "[]");
      return Array.isArray(found) ? found.filter((one) => typeof one === "string") : [];
    } catch {
      return [];
    }
  }

  #write(key: string, statements: string[]) {
    try {
      localStorage.setItem(key, JSON.stringify(statements));
    } catch {
      // Full, or switched off: there is no history then.
    }
  }
}
customElements.define("sql-history", SqlHistory);
