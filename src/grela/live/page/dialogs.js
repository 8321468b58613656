// The two questions that the page asks in a window of their own.

import { byId } from "./dom.js";
import { WORDS } from "./strings.js";

/** Open a dialog, and wait for the value of the button that closed it; "" after Escape. */
function answered(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/** Whether the reader wants the user to be deleted. */
export async function confirmed(user) {
  byId("delete-title").textContent = WORDS.remove.title(user);
  return (await answered(byId("delete-dialog"))) === "delete";
}

let asking = null;

/** The service's token, or null; several requests at once ask the reader once. */
export function askForToken(wrong) {
  asking ??= tokenFromReader(wrong).finally(() => {
    asking = null;
  });
  return asking;
}

async function tokenFromReader(wrong) {
  const [dialog, input] = [byId("token-dialog"), byId("token")];
  byId("token-text").textContent = wrong ? WORDS.token.wrong : WORDS.token.text;
  byId("token-cancel").onclick = () => dialog.close("");
  const answer = await answered(dialog);
  const token = input.value.trim();
  input.value = "";
  return answer === "use" && token !== "" ? token : null;
}
