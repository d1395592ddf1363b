// Signs in by the code behind the # of a link that deploy/up --demo printed, then goes on to the chat. The code stands in the
// fragment, so that no server, log or prefetching browser sees or spends it, and leaves the address at once.
const said = document.getElementById("said");
const code = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

// What a cluster without a leader cannot decide is asked again: the code is not spent by that.
const attempts = 8;
const pause_ms = 2000;

async function enter() {
  if (!code) {
    return "This link is not whole: copy all of it, with what stands behind the #.";
  }
  let why = "";
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    if (attempt > 0) {
      said.textContent = `Signing in … (${why})`;
      await new Promise((resolve) => setTimeout(resolve, pause_ms));
    }
    let answer;
    try {
      answer = await fetch("/api/v1/demo/entries", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ code }),
      });
    } catch {
      why = "No gateway answers. Is the demo still running?";
      continue;
    }
    if (answer.ok) {
      location.replace("/");
      return "Signed in.";
    }
    const problem = await answer.json().catch(() => ({}));
    why = problem.detail ?? `The gateway answered ${answer.status}.`;
    if (answer.status < 500) {
      break;
    }
  }
  return why;
}

said.textContent = await enter();
