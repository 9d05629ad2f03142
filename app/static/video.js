/* The page Video: frames with tracks, a time slider, tables of events and tracks, questions. A part that selects a frame
   and tracks tells the others by the event "moment". */
(() => {
  "use strict";
  const { FrameStage, fileInput, el, icon, iconButton, loadImage, loadLabels, on, tell, zoomButtons } = window.lisaMicro.parts;
  const kinds = window.lisaMicro.kinds;
  const HOLD = 4; /* number of frames for which an event stays marked */
  const RATE = 8; /* frames per second of playback */

  let moment = { frame: 0, seconds: null, count: 0 };
  const timeWords = (frame) => {
    if (!moment.seconds) return "";
    const digits = Math.min(Math.max(Math.ceil(-Math.log10(moment.seconds)), 0), 4);
    return ` · ${(frame * moment.seconds).toFixed(digits)} s`;
  };

  kinds.video = (root, trigger) => {
    let view = null, target = 0, shown = -1, pumping = false, playing = false;
    const pictures = new Map();
    const facts = new Map();
    const stage = new FrameStage({ onPick: (target) => choose(target ? [target.label] : []) });
    const message = el("div", { class: "lm-vmessage", role: "status", hidden: true });
    const say = (text, bad) => {
      message.textContent = text;
      message.hidden = !text;
      message.classList.toggle("lm-bad", Boolean(bad));
    };
    const files = fileInput(trigger, "uploaded", "video", { say });
    files.over(root);

    /* small caches: a long video must not fill the memory of the browser */
    const cached = (map, key, make, most) => {
      if (!map.has(key)) {
        if (map.size >= most) map.delete(map.keys().next().value);
        map.set(key, make());
        map.get(key).catch(() => map.delete(key));
      }
      return map.get(key);
    };
    const picture = (t) => cached(pictures, `${view.clip.url}${t}`, () => loadImage(`${view.clip.url}${t}.jpg`), 32);
    const fetchFacts = (t) => cached(facts, `${view.run.url}${t}`, async () => {
      const answer = await fetch(`${view.run.url}${t}.json`);
      if (!answer.ok) throw new Error("The measurements could not be fetched.");
      return answer.json();
    }, 200);
    const isTracked = (t) => view.run && t < view.run.count;

    const draw = async (t) => {
      const { clip, run } = view;
      const image = await picture(t);
      const measured = isTracked(t) ? await fetchFacts(t) : { boxes: {}, lines: {} };
      if (view.clip !== clip || view.run !== run) return;
      stage.colours = run ? run.colours : {};
      stage.marks = run ? run.marks.filter((mark) => mark.frame > 0 && mark.frame <= t && t - mark.frame < HOLD).map((mark) => ({ ...mark, age: t - mark.frame })).sort((a, b) => a.age - b.age) : [];
      const info = { key: clip.key, picture: image, shown: [image.naturalWidth, image.naturalHeight], width: clip.width, height: clip.height, nm: clip.nm };
      await stage.showFrame(info, isTracked(t) ? loadLabels(`${run.url}${t}.png`) : null, { id: "frame", concept: run ? run.concept : "", ...measured });
      stage.canvas.setAttribute("aria-label", `Frame ${t} of ${clip.name}`);
      stage.root.dataset.frame = String(t);
      stage.root.dataset.identities = Object.keys(measured.boxes).length;
    };
    const pump = async () => {
      if (pumping) return;
      pumping = true;
      while (view && view.clip && shown !== target) {
        const t = target;
        shown = t;
        try {
          await draw(t);
        } catch (error) {
          say(error.message, true);
        }
      }
      pumping = false;
      if (!view || !view.clip) return;
      const next = target + 1; /* prefetch the next frame */
      if (next < view.clip.count) {
        picture(next).catch(() => {});
        if (isTracked(next)) { loadLabels(`${view.run.url}${next}.png`).catch(() => {}); fetchFacts(next).catch(() => {}); }
      }
    };
    const go = (t) => {
      if (!view || !view.clip) return;
      target = Math.min(Math.max(Math.round(t), 0), view.clip.count - 1);
      slider.value = target;
      moment.frame = target;
      clock.textContent = `Frame ${target} / ${view.clip.count - 1}${timeWords(target)}`;
      tell("frame", target);
      return pump();
    };
    const choose = (who) => {
      stage.marked = new Set(who.map(Number));
      stage.root.dataset.marked = who.join(" ");
      if (stage.layers.length) stage.repaint();
      chosen.textContent = who.length ? `Selected: ${who.join(", ")}` : "";
      clearChoice.hidden = !who.length;
      tell("chosen", who);
    };
    on("moment", ({ frame, who }) => {
      pause();
      if (frame !== null && frame !== undefined) go(frame);
      if (who) choose(who);
      const box = stage.root.getBoundingClientRect();
      if (box.bottom < 120 || box.top > window.innerHeight - 120) stage.root.scrollIntoView({ block: "center", behavior: "smooth" });
    });

    const playIcon = el("span", { class: "lm-playicon", "aria-hidden": "true" }, "▶");
    const play = el("button", { class: "lm-button lm-square", type: "button", title: "Play", "aria-label": "Play", onclick: () => (playing ? pause() : run()) }, playIcon);
    const pause = () => {
      playing = false;
      playIcon.textContent = "▶";
      play.title = "Play";
      play.setAttribute("aria-label", "Play");
    };
    const run = async () => {
      playing = true;
      playIcon.textContent = "❚❚";
      play.title = "Pause";
      play.setAttribute("aria-label", "Pause");
      if (target >= view.clip.count - 1) await go(0);
      while (playing && view && view.clip && target < view.clip.count - 1) {
        const due = performance.now() + 1000 / RATE;
        await go(target + 1);
        await new Promise((done) => setTimeout(done, Math.max(0, due - performance.now())));
      }
      pause();
    };
    const step = (by, text, title) => el("button", { class: "lm-button lm-square", type: "button", title, "aria-label": title, onclick: () => { pause(); go(target + by); } }, text);
    const slider = el("input", { type: "range", class: "lm-slider", min: "0", value: "0", "aria-label": "Frame", oninput: () => { pause(); go(Number(slider.value)); } });
    const clock = el("div", { class: "lm-clock" });
    const scrub = el("div", { class: "lm-scrub" }, el("div", { class: "lm-group" }, step(-1, "‹", "Previous frame"), play, step(1, "›", "Next frame")), slider, clock);

    const mode = (value, text) => el("button", { class: "lm-button", type: "button", "data-mode": value, "aria-pressed": String(value === "fill"), onclick: () => {
      stage.mode = value;
      modes.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", b.dataset.mode === value));
      stage.repaint();
    } }, text);
    const modes = el("div", { class: "lm-group lm-joined" }, mode("fill", "Fill"), mode("outline", "Outline"));
    const opacity = el("input", { type: "range", min: "0.05", max: "1", step: "0.05", value: "0.45", "aria-label": "Opacity of the masks", oninput: () => { stage.opacity = Number(opacity.value); stage.repaint(); } });
    const numbers = el("input", { type: "checkbox", checked: true, onchange: () => { stage.numbers = numbers.checked; stage.draw(); } });
    const chosen = el("span", {});
    const clearChoice = el("button", { class: "lm-button", type: "button", hidden: true, onclick: () => choose([]) }, "Show all");
    const display = el("div", { class: "lm-row lm-display" }, el("div", { class: "lm-group lm-facts" }, chosen, clearChoice),
      el("div", { class: "lm-group" }, el("label", { class: "lm-opacity" }, numbers, "Numbers"), modes, el("label", { class: "lm-opacity" }, "Opacity", opacity)));

    const name = el("div", { class: "lm-videoname" });
    const about = el("div", { class: "lm-facts" });
    const notes = el("div", { class: "lm-imagenotes" });
    const open = el("button", { class: "lm-button", type: "button", onclick: () => files.open() }, icon("upload"), "Open a video");
    const remove = iconButton("trash", "Remove this video", () => trigger("remove", {}));
    const top = el("div", { class: "lm-row lm-viewtop" }, el("div", { class: "lm-title" }, name, about), el("div", { class: "lm-group" }, open, remove), zoomButtons(stage));
    const samples = el("div", { class: "lm-samples lm-videosamples" });
    const drop = el("button", { class: "lm-drop", type: "button", onclick: () => files.open() }, icon("upload"),
      el("b", {}, "Drop a video here, or click to choose a file"),
      el("span", {}, "MP4, MOV, AVI, a stack (TIFF, MRC, DM4, SER ...), or a zip of frames. Files stay in this app and are removed when you close the page."));
    const empty = el("div", { class: "lm-videoempty" }, drop, el("div", { class: "lm-or" }, "or try a simulated sample"), samples);
    const full = el("div", { class: "lm-full", hidden: true }, top, stage.root, scrub, display, notes);
    root.append(message, empty, full, files.input);
    full.addEventListener("keydown", (event) => {
      if (event.target === slider || !["ArrowLeft", "ArrowRight"].includes(event.key) || event.target.type === "range") return;
      event.preventDefault();
      pause();
      go(target + (event.key === "ArrowLeft" ? -1 : 1));
    });

    return (value) => {
      const last = view;
      const stays = last && last.clip && value.clip && last.clip.key === value.clip.key;
      const same = stays && (last.run?.key === value.run?.key);
      view = value;
      files.upload = value.upload;
      say(value.notice || value.message || "", Boolean(value.notice));
      const open_ = Boolean(value.clip);
      empty.hidden = open_;
      full.hidden = !open_;
      samples.replaceChildren(...value.samples.map((sample) => el("button", { class: "lm-sample lm-videosample", type: "button", "data-video": sample.name, onclick: () => trigger("sample", { name: sample.name }) },
        el("span", {}, el("b", {}, sample.title), sample.text))));
      if (!open_) {
        pause();
        [shown, target] = [-1, 0];
        return;
      }
      name.textContent = name.title = value.clip.name;
      about.textContent = value.clip.facts;
      notes.textContent = value.clip.notes.join(" ");
      slider.max = value.clip.count - 1;
      scrub.hidden = value.clip.count < 2;
      moment = { ...moment, seconds: value.clip.seconds, count: value.clip.count };
      display.hidden = !value.run;
      if (!stays) { pause(); target = 0; }
      if (!same) { shown = -1; choose([]); }
      stage.info && (stage.info.nm = value.clip.nm);
      stage.draw();
      go(target);
    };
  };

  /* ---- progress and summary of a run ---- */
  kinds.run = (root) => (value) => {
    const nodes = [];
    const p = value.pending;
    if (value.notice) nodes.push(el("div", { class: "lm-notice", role: "alert" }, value.notice));
    if (value.message) nodes.push(el("div", { class: "lm-vmessage", role: "status" }, value.message));
    if (p) {
      const bar = el("div", { class: `lm-bar${p.share === null ? " lm-unknown" : ""}`, role: "progressbar", "aria-label": "Frames tracked", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": p.share === null ? null : Math.round(100 * p.share) }, el("i", { style: p.share === null ? {} : { width: `${100 * p.share}%` } }));
      nodes.push(el("div", { class: "lm-progress", role: "status" }, el("div", {}, el("b", {}, p.stage), el("span", {}, [p.left, `${p.seconds} s so far`].filter(Boolean).join(" · "))), bar));
    }
    if (value.partial && !p) nodes.push(el("div", { class: "lm-vmessage" }, `${value.partial} Press “Resume” to continue.`));
    if (value.run) {
      nodes.push(el("div", { class: "lm-summary" },
        el("p", {}, el("b", {}, value.run.reply)),
        el("div", { class: "lm-numbers" }, ...value.run.facts.map(([label, number]) => el("span", {}, el("b", {}, String(number)), label))),
        value.run.kinds.length ? el("div", { class: "lm-chips" }, ...value.run.kinds.map((k) => el("span", { class: "lm-chip" }, el("i", { style: { background: k.colour } }), `${k.kind}: ${k.number}`))) : null,
        ...value.run.notes.map((note) => el("div", { class: "lm-note" }, note)),
        value.run.seconds ? el("div", { class: "lm-meta" }, `“${value.run.words}” · ${value.run.seconds} s`) : el("div", { class: "lm-meta" }, `“${value.run.words}”`)));
    } else if (!p && !value.notice && !value.partial) {
      nodes.push(el("div", { class: "lm-blank" }, value.open ? "Say what to track and press “Track”. Every particle keeps its number through the video; contacts, necks and coalescence are detected and timed." : "Open a video or click a sample; then say what to track."));
    }
    root.replaceChildren(...nodes);
  };

  /* ---- tables whose rows select a frame ---- */
  const table = (root) => {
    const head = el("thead"), body = el("tbody"), note = el("div", { class: "lm-imagenotes" });
    const frame = el("div", { class: "lm-tableframe lm-talltable" }, el("table", { class: "lm-table" }, head, body));
    root.append(frame, note);
    let data = null, sorted = { column: -1, down: false }, chosen = [];
    const mark = (scroll) => {
      for (const row of body.rows) {
        const isChosen = chosen.length > 0 && row.dataset.who === chosen.join(" ");
        row.classList.toggle("lm-chosen", isChosen);
        if (isChosen && scroll) { frame.scrollTop = row.offsetTop - frame.clientHeight / 2; scroll = false; }
      }
    };
    on("chosen", (who) => { chosen = who; mark(true); });
    const draw = () => {
      const { column, down } = sorted;
      head.replaceChildren(el("tr", {}, ...data.columns.map((text, k) => el("th", { scope: "col", class: data.rows.length && typeof data.rows[0].sort[k] === "string" ? "lm-left" : null, "aria-sort": k === column ? (down ? "descending" : "ascending") : "none" },
        el("button", { type: "button", onclick: () => { sorted = { column: k, down: k === column && !down }; draw(); } }, text, el("i", {}, k === column ? (down ? " ▼" : " ▲") : ""))))));
      const order = data.rows.map((row, k) => [row, k]);
      if (column >= 0) order.sort(([a, i], [b, j]) => {
        const [x, y] = [a.sort[column], b.sort[column]];
        if (x === null || y === null) return (x === null) - (y === null) || i - j;
        const way = typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
        return (down ? -way : way) || i - j;
      });
      body.replaceChildren(...order.map(([row]) => {
        const go = () => tell("moment", { frame: row.frame, who: row.who });
        return el("tr", { "data-label": row.who[0], "data-who": row.who.join(" "), "data-frame": row.frame, tabindex: "0", onclick: go, onkeydown: (event) => { if (event.key === "Enter") go(); } },
          ...row.text.map((text, k) => el("td", { class: typeof row.sort[k] === "string" ? "lm-left" : null }, k === 0 ? el("i", { class: "lm-dot", style: { background: row.colour } }) : null, text)));
      }));
      mark(false);
    };
    return (value) => {
      data = value;
      if (sorted.column >= data.columns.length) sorted = { column: -1, down: false };
      note.textContent = data.note;
      frame.hidden = !data.rows.length;
      draw();
    };
  };
  kinds.events = table;
  kinds.tracks = table;

  /* ---- questions ---- */
  kinds.videoquestions = (root, trigger) => {
    const list = el("div", { class: "lm-videoquestions", "aria-live": "polite" });
    root.append(list);
    const place = ({ phrase, frame, who }) => el("button", { class: "lm-button lm-place", type: "button", onclick: () => tell("moment", { frame, who }) },
      [frame === null ? "" : `Frame ${frame}`, who.length ? `${phrase}: ${who.slice(0, 6).join(", ")}${who.length > 6 ? " ..." : ""}` : ""].filter(Boolean).join(" · "));
    return (value) => {
      const nodes = value.turns.flatMap((turn) => [
        el("div", { class: "lm-ask" }, turn.prompt),
        el("div", { class: "lm-reply" }, el("span", { class: "lm-words" }, turn.text), ...turn.notes.map((note) => el("span", { class: "lm-note" }, note)),
          turn.places.length ? el("span", { class: "lm-chips" }, ...turn.places.map(place)) : null, el("span", { class: "lm-meta" }, `${turn.seconds} s`)),
      ]);
      if (value.suggestions.length) nodes.push(el("div", { class: "lm-suggestions" }, ...value.suggestions.map((words) => el("button", { class: "lm-button", type: "button", onclick: () => trigger("suggested", { words }) }, words))));
      if (value.pending) nodes.push(el("div", { class: "lm-ask" }, value.pending.prompt), el("div", { class: "lm-reply lm-working", role: "status" }, el("span", { class: "lm-dots" }, el("i"), el("i"), el("i")), el("span", {}, value.pending.stage), el("span", { class: "lm-meta" }, `${value.pending.seconds} s`)));
      if (value.notice) nodes.push(el("div", { class: "lm-notice", role: "alert" }, value.notice));
      list.hidden = !nodes.length;
      list.replaceChildren(...nodes);
      list.scrollTop = list.scrollHeight;
    };
  };

  /* ---- plots: a click selects the frame, a line marks the shown frame ---- */
  const PLOTS = ["#lm-timeline", "#lm-necks", "#lm-sizes"];
  const numbers = (text) => (String(text).match(/\d+/g) || []).map(Number);
  const clicked = ({ points: [point] }) => {
    const { text, customdata, data, x } = point;
    let who = null;
    if (typeof text === "string" && text.includes("->")) who = [...new Set(numbers(text))];
    else if (/^\d+ and \d+/.test(data.name || "")) who = numbers(data.name).slice(0, 2);
    else if (data.name === "each particle" && Number.isFinite(Number(customdata))) who = [Number(customdata)];
    tell("moment", { frame: x / (moment.seconds || 1), who });
  };
  const cursor = (plot) => {
    const axis = plot._fullLayout && plot._fullLayout.xaxis;
    if (!axis || !axis.l2p || !moment.count) return;
    const line = plot.lmCursor || (plot.lmCursor = plot.appendChild(el("i", { class: "lm-cursor" })));
    if (line.parentNode !== plot) plot.append(line);
    const x = axis.l2p(moment.frame * (moment.seconds || 1));
    const size = plot._fullLayout._size;
    line.hidden = !(x >= 0 && x <= axis._length);
    Object.assign(line.style, { left: `${axis._offset + x}px`, top: `${size.t}px`, height: `${size.h}px` });
  };
  const plots = () => PLOTS.flatMap((id) => [...document.querySelectorAll(`${id} .js-plotly-plot`)]);
  on("frame", () => plots().forEach(cursor));
  setInterval(() => plots().forEach((plot) => {
    if (plot.on && !plot.lmHeard) {
      plot.lmHeard = true;
      plot.on("plotly_click", clicked);
    }
    cursor(plot);
  }), 400);
})();
