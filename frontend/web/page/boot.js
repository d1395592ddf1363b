// Starts the page. A file of its own, because the content security policy allows no inline script.
import init from "{{glue}}";

init({ module_or_path: "{{wasm}}" }).catch((error) => {
  console.error(error);
  const word = document.getElementById("shell-word");
  if (word) {
    word.setAttribute("role", "alert");
    word.textContent = typeof WebAssembly === "object"
      ? "Quorate could not be loaded. Check the connection and reload the page."
      : "This browser has no WebAssembly, which Quorate needs.";
  }
});
