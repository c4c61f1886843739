// Unsaved text, kept in this browser for each function until it is saved or given up.
export type Files = Record<string, string | { base64: string }>;
export interface Draft {
  files: Files;
  entry: string;
  at: number;
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
