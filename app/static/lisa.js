/* Custom parts of the page. Each part is mounted once into an element that Gradio does not redraw, and updates when its
   value changes. User input is always set as text, never as HTML. */
(() => {
  "use strict";
  if (window.lisaMicro.mount) return;

  /* ---- events between parts: an instance was selected, a colour was changed ---- */
  const listeners = {};
  const on = (event, listener) => (listeners[event] ||= []).push(listener);
  const tell = (event, data, from) => (listeners[event] || []).forEach((listener) => listener(data, from));

  /* ---- uploads go to the folder of the session; the page gets a key for each ---- */
  const send = (file, kind, upload, progress) => new Promise((resolve, reject) => {
    if (file.size > upload.mib * 1048576) return reject(new Error(`${file.name} is too large: files may have up to ${upload.mib} MiB.`));
    const request = new XMLHttpRequest();
    request.open("POST", `${upload.url}?kind=${kind}&name=${encodeURIComponent(file.name)}`);
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onerror = () => reject(new Error("The file could not be sent; check that the app is still running."));
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* handled below */ }
      if (request.status === 200 && answer.key) resolve(answer.key);
      else reject(new Error(answer.error || "The file could not be sent."));
    };
    request.send(file);
  });

  Object.assign(window.lisaMicro.parts, { on, tell, send });
  window.lisaMicro.mount = (kind, element, props, trigger, watch) => {
    const root = element.querySelector(".lm-mount");
    const update = window.lisaMicro.kinds[kind](root, trigger);
    const show = () => { if (props.value) update(props.value); };
    show();
    watch("value", show);
  };
})();
