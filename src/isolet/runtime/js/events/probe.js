// The host asks whether the isolate answers, and how many promises calls left behind. `collect`: after a collection.

import { collectGarbage, Response } from "../console.js";
import { waiting } from "../execution.js";

export default function probe(call) {
  if (call.context?.collect) collectGarbage();
  return new Response(`{"waiting":${waiting()}}`);
}
