/* The conversation, measurements, results of a comparison, state of the model, downloads. */
(() => {
  "use strict";
  const { el, icon, on, tell } = window.lisaMicro.parts;
  const kinds = window.lisaMicro.kinds;
  const ink = (hex) => {
    /* dark enough for text on white */
    const [r, g, b] = [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
    const bright = (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
    const f = bright > 0.42 ? 0.42 / bright : 1;
    return `rgb(${Math.round(r * f)},${Math.round(g * f)},${Math.round(b * f)})`;
  };

  kinds.chat = (root, trigger) => {
    const list = el("div", { class: "lm-talk", "aria-live": "polite" });
    root.append(list);
    on("colour", ({ turn, layer, colour }) => {
      list.querySelectorAll(`[data-layer="${turn}-${layer}"]`).forEach((node) => node.style.setProperty("--layer", colour) || node.style.setProperty("--ink", ink(colour)));
    });
    const mark = (turn, k, colour, text) => el("mark", { class: "lm-mark", "data-layer": `${turn}-${k}`, style: {} }, text);
    const coloured = (node, colour) => {
      node.style.setProperty("--layer", colour);
      node.style.setProperty("--ink", ink(colour));
      return node;
    };
    const drawTurn = (turn, several) => {
      const colours = Object.fromEntries(turn.chips.map((chip) => [chip.layer, chip.colour]));
      const words = turn.parts.map((part) => part.layer === null ? part.text : coloured(mark(turn.number, part.layer, null, part.text), colours[part.layer]));
      const chips = turn.chips.map((chip) => coloured(el("span", { class: "lm-chip", "data-layer": `${turn.number}-${chip.layer}` }, el("i"), `${chip.phrase}: ${chip.count}`), chip.colour));
      const reply = el("button", {
        type: "button", class: `lm-reply${turn.shown ? " lm-shown" : ""}${turn.nothing ? " lm-none" : ""}`, "data-turn": turn.number,
        title: turn.shown ? "Its masks are shown on the image" : "Show its masks on the image", onclick: () => { if (!turn.shown) trigger("turn", { number: turn.number }); },
      },
      el("span", { class: "lm-words" }, ...words),
      chips.length ? el("span", { class: "lm-chips" }, ...chips) : null,
      turn.plots.length ? el("span", { class: "lm-chips" }, ...turn.plots.map((name) => el("span", { class: "lm-chip lm-plotchip" }, icon("plot"), name))) : null,
      ...turn.notes.map((note) => el("span", { class: "lm-note" }, note)),
      el("span", { class: "lm-meta" }, `${several ? `${turn.image} · ` : ""}${turn.seconds} s${turn.shown && turn.chips.length ? " · shown" : ""}`));
      const doubt = turn.doubt && turn.doubt.open ? el("div", { class: "lm-doubt" }, el("span", {}, turn.doubt.question),
        el("button", { type: "button", class: "lm-button", "data-other": turn.number, title: "Replace this answer", onclick: () => trigger("other", { number: turn.number }) }, turn.doubt.reading)) : null;
      return [el("div", { class: "lm-ask" }, turn.prompt), reply, doubt].filter(Boolean);
    };
    let last = "";
    return (value) => {
      const working = () => el("div", { class: "lm-reply lm-working", role: "status" }, el("span", { class: "lm-dots" }, el("i"), el("i"), el("i")), el("span", {}, value.pending.stage), el("span", { class: "lm-meta" }, `${value.pending.seconds} s`));
      const again = value.pending ? value.pending.again : null;
      const nodes = value.turns.flatMap((turn) => turn.number === again ? [el("div", { class: "lm-ask" }, turn.prompt), working()] : drawTurn(turn, value.several));
      if (!value.turns.length && !value.pending) {
        nodes.push(el("div", { class: "lm-hello" },
          el("b", {}, value.open ? "Ask about the micrograph" : "Talk to a micrograph"),
          el("span", {}, value.open ? "Counts and sizes are measured on the image; numbers in a reply are never guessed." : "Open a file or click a sample, then ask what to segment or measure."),
          value.suggestions.length ? el("div", { class: "lm-suggestions" }, ...value.suggestions.map((words) => el("button", { class: "lm-button", type: "button", onclick: () => trigger("suggested", { words }) }, words))) : null));
      }
      if (value.pending && again === null) nodes.push(el("div", { class: "lm-ask" }, value.pending.prompt), working());
      if (value.notice) nodes.push(el("div", { class: "lm-notice", role: "alert" }, value.notice));
      list.replaceChildren(...nodes);
      const now = `${value.turns.length}|${Boolean(value.pending)}|${value.notice}`;
      if (now !== last) list.scrollTop = list.scrollHeight;
      last = now;
    };
  };

  kinds.measures = (root) => {
    const cards = el("div", { class: "lm-cards" });
    const body = el("tbody");
    const head = el("thead");
    const table = el("table", { class: "lm-table" }, head, body);
    const frame = el("div", { class: "lm-tableframe", hidden: true }, table);
    const note = el("div", { class: "lm-imagenotes" });
    const blank = el("div", { class: "lm-blank" }, "Measurements appear here.");
    root.append(blank, cards, frame, note);
    let data = null, sorted = { column: -1, down: false }, chosen = null;
    const mark = (scroll) => {
      for (const row of body.rows) {
        const isChosen = chosen && row.dataset.layer === chosen.layer && row.dataset.label === String(chosen.label);
        row.classList.toggle("lm-chosen", Boolean(isChosen));
        row.setAttribute("aria-selected", String(Boolean(isChosen)));
        if (isChosen && scroll) frame.scrollTop = row.offsetTop - frame.clientHeight / 2;
      }
    };
    on("select", (target, from) => { if (from !== "table") { chosen = target; mark(true); } });
    const draw = () => {
      const { column, down } = sorted;
      head.replaceChildren(el("tr", {}, ...data.columns.map((text, k) => el("th", { scope: "col", class: text === "of" ? "lm-left" : null, "aria-sort": k === column ? (down ? "descending" : "ascending") : "none" },
        el("button", { type: "button", onclick: () => { sorted = { column: k, down: k === column ? !down : k > 0 }; draw(); } }, text, el("i", {}, k === column ? (down ? " ▼" : " ▲") : ""))))));
      const order = data.rows.map((row, k) => [row, k]);
      if (column >= 0) order.sort(([a, i], [b, j]) => {
        const [x, y] = [a.sort[column], b.sort[column]];
        if (x === null || y === null) return (x === null) - (y === null) || i - j;
        const way = typeof x === "string" ? x.localeCompare(y) : x - y;
        return (down ? -way : way) || i - j;
      });
      body.replaceChildren(...order.map(([row]) => el("tr", { "data-layer": row.layer, "data-label": row.label, tabindex: "0",
        onclick: () => pick(row), onkeydown: (event) => { if (event.key === "Enter") pick(row); } },
      ...row.text.map((text, k) => el("td", { class: typeof row.sort[k] === "string" ? "lm-left" : null }, k === 0 ? el("i", { class: "lm-dot", style: { background: row.colour } }) : null, text)))));
      mark(false);
    };
    const pick = (row) => {
      chosen = { layer: row.layer, label: row.label };
      mark(false);
      tell("select", chosen, "table");
    };
    on("colour", ({ layer, colour }) => {
      if (!data) return;
      data.rows.forEach((row) => { if (row.layer.endsWith(`-${layer}`)) row.colour = colour; });
      draw();
    });
    return (value) => {
      data = value.table;
      chosen = null;
      if (sorted.column >= data.columns.length) sorted = { column: -1, down: false };
      blank.hidden = Boolean(value.summary.length);
      cards.replaceChildren(...value.summary.map((part) => {
        const card = el("div", { class: "lm-card" }, el("b", {}, el("i", { class: "lm-dot", style: { background: part.colour } }), part.phrase), ...part.lines.map(([name, text]) => el("div", {}, el("span", {}, name), el("span", {}, text))));
        return card;
      }));
      frame.hidden = !data.rows.length;
      note.textContent = data.note;
      draw();
    };
  };

  /* ---- words against boxes: numbers beside the micrograph, pictures below ---- */
  kinds.verdict = (root) => {
    /* transposed: there are more scores than prompts */
    const transposed = (table) => el("div", { class: "lm-tableframe lm-scores" }, el("table", { class: "lm-table" },
      el("thead", {}, el("tr", {}, el("th", {}, table.columns[0]), ...table.rows.map((row) => el("th", { scope: "col" }, row[0])))),
      el("tbody", {}, ...table.columns.slice(1).map((name, k) => el("tr", {}, el("th", { scope: "row" }, name), ...table.rows.map((row) => el("td", {}, row[k + 1])))))));
    return (value) => {
      const nodes = [];
      if (value.notice) nodes.push(el("div", { class: "lm-notice", role: "alert" }, value.notice));
      if (value.pending) nodes.push(el("div", { class: "lm-reply lm-working", role: "status" }, el("span", { class: "lm-dots" }, el("i"), el("i"), el("i")), el("span", {}, value.pending.stage), el("span", { class: "lm-meta" }, `${value.pending.seconds} s`)));
      if (!value.ready && !value.pending && !value.notice) nodes.push(el("div", { class: "lm-blank lm-how" }, el("p", {}, "Draw boxes, ask for the same in words, and compare. Both use the same decoder, so only the prompt differs."),
        el("p", {}, "True labels (an image in which each object has its own number) are optional: both results are then scored against them, and missing boxes are derived from them.")));
      if (value.ready) {
        nodes.push(el("p", { class: "lm-verdict" }, value.sentence));
        nodes.push(el("h3", {}, `Scores against ${value.against}`), transposed(value.scores));
        if (value.notes.length) nodes.push(el("ul", { class: "lm-notes" }, ...value.notes.map((note) => el("li", {}, note))));
      }
      root.replaceChildren(...nodes);
    };
  };

  kinds.outcome = (root) => {
    const figure = (url, title, caption) => el("figure", { class: "lm-figure" }, el("a", { href: url, target: "_blank", rel: "noopener", title: "Open in full size" }, el("img", { src: url, alt: title })), el("figcaption", {}, el("b", {}, title), ...caption));
    return (value) => {
      const d = value.difference;
      root.replaceChildren(...(value.ready ? [el("h3", {}, "Side by side"),
        el("div", { class: "lm-figures" }, ...value.pictures.map((p) => figure(p.url, p.name, [` ${p.caption}`])),
          d && figure(d.url, "difference", [el("span", { class: "lm-one" }, `only ${d.one}`), el("span", { class: "lm-other" }, `only ${d.other}`), el("span", { class: "lm-both" }, "both")]))] : []));
    };
  };

  kinds.status = (root) => {
    const pill = el("span", { class: "lm-pill", role: "status" });
    root.append(el("div", { class: "lm-header" },
      el("div", { class: "lm-brand" }, el("i", { class: "lm-logo", "aria-hidden": "true" }), el("b", {}, "LISA-micro"), el("span", {}, "talk to a micrograph")), pill));
    return (value) => {
      pill.textContent = value.text;
      pill.className = `lm-pill lm-${value.state}`;
      pill.title = value.detail || "";
    };
  };

  kinds.download = (root) => {
    let last = 0;
    return (value) => {
      if (!value || !value.url || value.number === last) return;
      last = value.number;
      const link = el("a", { href: value.url, download: value.name });
      root.append(link);
      link.click();
      link.remove();
    };
  };
})();
