// Completes `env.` with what this function has there.
import type { CompletionContext, CompletionResult } from "@codemirror/autocomplete";

export interface Binding {
  name: string;
  kind: string;
}

export function completeEnv(bindings: Binding[]) {
  return (context: CompletionContext): CompletionResult | null => {
    const before = context.matchBefore(/\benv\.\w*/);
    if (!before) return null;
    return {
      from: before.from + 4,
      options: bindings.map(({ name, kind }) => ({ label: name, detail: kind, type: "property" })),
      validFor: /^\w*$/,
    };
  };
}
