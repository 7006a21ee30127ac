// Asks whether something that cannot be undone is really meant.

/** Whether the person says yes to `question`. */
export function confirm(question) {
  const dialog = document.querySelector("#confirm");
  dialog.querySelector("h2").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.querySelector(".yes").onclick = () => dialog.close("yes");
    dialog.querySelector(".no").onclick = () => dialog.close("no");
  });
}
