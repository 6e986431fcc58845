// The bearer token, where the server wants one: asked for in a dialog, kept in this tab's session storage, nowhere else.

const KEY = "deeper-token";
const at = (id) => document.getElementById(id);
let memory = "";
let asking = null;
let declined = false;

/** The token that requests bring; empty where none was given. */
export function token() {
  try {
    return sessionStorage.getItem(KEY) ?? memory;
  } catch {
    return memory; // storage is switched off
  }
}

function keep(text) {
  memory = text;
  try {
    sessionStorage.setItem(KEY, text);
  } catch {
    // Then for as long as the page is open.
  }
}

/**
 * Opens the dialog; those who ask meanwhile wait for the same answer. After "Not now" it stays closed until
 * `mayAskAgain`: of many pictures in the queue each would open it.
 * @param {string} refused  the token that was just refused
 * @returns {Promise<boolean>} whether there is a token to try
 */
export function askForToken(refused) {
  if (token() !== refused) return Promise.resolve(true); // given while this request was on its way
  if (declined) return Promise.resolve(false);
  asking ??= opened(refused !== "").then((given) => {
    asking = null;
    declined = !given;
    return given;
  });
  return asking;
}

/** Somebody has done something new, for which a token may be asked for again. */
export function mayAskAgain() {
  declined = false;
}

function opened(again) {
  const dialog = at("token-dialog");
  const refusal = at("token-refused");
  refusal.textContent = again ? "The server did not accept that token." : "";
  refusal.hidden = !again;
  at("token").value = "";
  dialog.showModal();
  at("token").focus();
  return new Promise((resolve) => {
    const done = new AbortController();
    const end = (given) => {
      done.abort();
      dialog.close();
      resolve(given);
    };
    at("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      // A header holds no other characters; a token with any of them would never match.
      const text = at("token").value.trim();
      if (!/^[\x21-\x7e]+( [\x21-\x7e]+)*$/.test(text)) {
        refusal.textContent = "A token has only plain letters, digits and signs.";
        refusal.hidden = false;
        return;
      }
      keep(text);
      end(true);
    }, { signal: done.signal });
    at("token-cancel").addEventListener("click", () => end(false), { signal: done.signal });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      end(false);
    }, { signal: done.signal });
  });
}
