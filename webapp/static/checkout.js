// Paying without leaving the page: a double tap is one payment, and after a lost answer the same button,
// with the same key, finds out what happened.

import { sendKindly } from "./sending.js";

for (const form of document.querySelectorAll("form[data-send]")) sendKindly(form);
