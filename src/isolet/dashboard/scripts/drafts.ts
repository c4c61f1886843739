// Unsaved text, kept in this browser for each function until it is saved or given up.
export type Files = Record<string, string | { base64: string }>;
export interface Draft {
  files: Files;
  entry: string;
  at: number;
  // The mark of the saved files that it was made from.
  base?: string;
}

// Tells what is saved at one time from what is saved at another: FNV-1a over the text, from two beginnings.
export function mark(files: Files, entry: string): string {
  const text = JSON.stringify([entry, ...Object.keys(files).sort().map((path) => [path, files[path]])]);
  let [one, other] = [0x811c9dc5, 0x1000193];
  for (let at = 0; at < text.length; at++) {
    one = Math.imul(one ^ text.charCodeAt(at), 0x01000193);
    other = Math.imul(other ^ text.charCodeAt(at), 0x01000193);
  }
  return [one, other, text.length].join(".");
}

const name = (functionId: string) => `isolet.draft.${functionId}`;

export function keep(functionId: string, draft: Draft) {
  try {
    localStorage.setItem(name(functionId), JSON.stringify(draft));
  } catch {
    // No room, or no storage: leaving the page still asks.
  }
}

export function find(functionId: string): Draft | null {
  try {
    return JSON.parse(localStorage.getItem(name(functionId)) ?? "null");
  } catch {
    return null;
  }
}

export function drop(functionId: string) {
  try {
    localStorage.removeItem(name(functionId));
  } catch {
    // As above.
  }
}
