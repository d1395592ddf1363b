// Starts the page. A file of its own, because the content security policy allows no inline script.
import init from "{{glue}}";

// What stands between the page and its language is waited for this long; then it is English.
const WORDS_MS = 5000;

const root = document.documentElement;
if (root.lang === "de") {
  try {
    const answer = await fetch("{{words-de}}", { signal: AbortSignal.timeout(WORDS_MS) });
    if (!answer.ok) throw new Error(`the words: ${answer.status}`);
    globalThis.quorateWords = await answer.text();
  } catch (error) {
    console.error(error);
    root.lang = "en";
  }
}

init({ module_or_path: "{{wasm}}" }).catch((error) => {
  console.error(error);
  const said = document.getElementById(typeof WebAssembly === "object" ? "shell-failed" : "shell-bare");
  if (!said) return;
  document.getElementById("shell-word").hidden = true;
  said.setAttribute("role", "alert");
  said.hidden = false;
});
