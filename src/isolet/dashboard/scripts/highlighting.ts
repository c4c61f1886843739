// Colours of code that have enough contrast in light and in dark.
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { EditorView } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const colour = (light: string, dark: string) => `light-dark(${light}, ${dark})`;

export const theme = [
  EditorView.theme({
    "&": { color: "var(--text)", backgroundColor: "var(--surface)" },
    "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "-2px" },
    ".cm-content": { caretColor: "var(--text)" },
    "&.cm-editor .cm-content, &.cm-editor .cm-gutter": { minHeight: "22rem" },
    ".cm-cursor": { borderLeftColor: "var(--text)" },
    ".cm-gutters": { backgroundColor: "var(--sunken)", color: "var(--quiet)", border: "none" },
    ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--accent) 9%, transparent)" },
    "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
      backgroundColor: "color-mix(in srgb, var(--accent) 28%, transparent)",
    },
    ".cm-tooltip, .cm-panels": { backgroundColor: "var(--surface)", color: "var(--text)", border: "1px solid var(--line)" },
    ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent-back)", color: "var(--on-accent)" },
    ".cm-diagnostic": { whiteSpace: "pre-wrap" },
    ".cm-deletedChunk, .cm-deletedLine": { backgroundColor: "var(--bad-soft)" },
    ".cm-insertedLine, .cm-changedLine": { backgroundColor: "var(--good-soft)" },
    ".cm-button, .cm-textfield": { backgroundImage: "none", backgroundColor: "var(--surface)", color: "var(--text)" },
  }),
  syntaxHighlighting(
    HighlightStyle.define([
      { tag: tags.keyword, color: colour("#8b1d7c", "#f0a6e4") },
      { tag: [tags.string, tags.special(tags.string)], color: colour("#116329", "#93dba8") },
      { tag: [tags.number, tags.bool, tags.null], color: colour("#9a3412", "#fdba74") },
      { tag: [tags.comment], color: colour("#55626b", "#9daab2"), fontStyle: "italic" },
      { tag: [tags.function(tags.variableName), tags.function(tags.propertyName)], color: colour("#1d4ed8", "#93c5fd") },
      { tag: [tags.typeName, tags.className], color: colour("#0f5f6b", "#7fd8e4") },
      { tag: tags.invalid, color: colour("#b42318", "#fda29b") },
    ]),
  ),
];
