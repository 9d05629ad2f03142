/* The page Batch: a place to drop many files or a zip, and the progress of a run. */
(() => {
  "use strict";
  const { el, icon, send } = window.lisaMicro.parts;
  const kinds = window.lisaMicro.kinds;

  kinds.batch = (root, trigger) => {
    let view = null, sending = false;
    const input = el("input", { type: "file", multiple: true, hidden: true, "data-kind": "batch" });
    const message = el("p", { class: "lm-batchmessage", role: "status", hidden: true });
    const say = (text, bad) => {
      message.textContent = text;
      message.hidden = !text;
      message.classList.toggle("lm-bad", Boolean(bad));
    };
    const take = async (files) => {
      if (sending || !view || !files.length) return;
      sending = true;
      const problems = [];
      let number = 0;
      for (const file of files) {
        number += 1;
        const told = (share) => say(`Sending ${file.name} (${number} of ${files.length}), ${Math.round(100 * share)} %`);
        told(0);
        try {
          await send(file, "batch", view.upload, told);
        } catch (error) {
          problems.push(error.message);
          if (problems.length >= 3) break;
        }
      }
      sending = false;
      say(problems.join(" "), problems.length);
      trigger("uploaded", {});
    };
    input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
    const limits = el("span");
    const drop = el("button", { class: "lm-drop lm-batchdrop", type: "button", onclick: () => input.click() }, icon("upload"),
      el("b", {}, "Drop micrographs or a zip"), el("span", {}, "or click to choose. The folders of a zip can become groups."), limits);
    root.addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("lm-dropping"); });
    root.addEventListener("dragleave", () => root.classList.remove("lm-dropping"));
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("lm-dropping");
      take([...event.dataTransfer.files]);
    });
    const summary = el("p", { class: "lm-batchsummary" });
    const names = el("ul", { class: "lm-batchnames" });
    const clear = el("button", { class: "lm-button", type: "button", onclick: () => trigger("cleared", {}) }, icon("trash"), "Remove all");
    root.append(input, drop, message, summary, names, clear);
    return (next) => {
      view = next;
      limits.textContent = view.limits;
      drop.disabled = view.busy;
      clear.hidden = !view.count || view.busy;
      summary.hidden = !view.count;
      summary.textContent = `${view.count} ${view.count === 1 ? "image" : "images"}, ${view.size}${view.folders.length ? `; folders: ${view.folders.join(", ")}` : ""}`;
      names.replaceChildren(...view.names.map((name) => el("li", {}, name)), ...(view.more ? [el("li", {}, `and ${view.more} more`)] : []));
      root.dataset.count = view.count;
      if (view.notice) say(view.notice, true);
    };
  };

  kinds.batchrun = (root) => {
    const bar = el("div", { class: "lm-batchbar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, el("i"));
    const text = el("p", { class: "lm-batchtext", role: "status" });
    const notes = el("ul", { class: "lm-notes" });
    root.append(bar, text, notes);
    return (view) => {
      bar.hidden = view.share === null;
      bar.firstChild.style.width = `${100 * (view.share || 0)}%`;
      bar.setAttribute("aria-valuenow", Math.round(100 * (view.share || 0)));
      text.textContent = view.text;
      text.hidden = !view.text;
      text.classList.toggle("lm-bad", view.bad);
      notes.replaceChildren(...view.notes.map((note) => el("li", {}, note)));
    };
  };
})();
