// Before the first paint, so that a dark page does not flash white, nothing moves, and the shell speaks the reader's language.
{
  const root = document.documentElement;
  let language;
  try {
    const theme = localStorage.getItem("quorate.theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    if (localStorage.getItem("quorate.density") === "compact") root.dataset.density = "compact";
    language = localStorage.getItem("quorate.language");
  } catch {
    // No storage: the system's theme and language it is, and room between things.
  }
  const spoken = [language, ...navigator.languages].map((tag) => tag?.toLowerCase().split("-")[0]);
  root.lang = spoken.find((tag) => tag === "en" || tag === "de") ?? "en";
}
