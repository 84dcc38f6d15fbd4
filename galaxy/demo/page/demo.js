// The page: it asks the server about a galaxy and shows what comes. All its words are in words.json.

const find = (id) => document.getElementById(id);
const about = await (await fetch("/api/about")).json();
const { talk, page, phrases } = about.words;
const several = about.models.length > 1;
const columns = about.questions.flatMap((question) => question.answers.map((answer) => answer.column));
const questions = new Map(about.questions.map((question) => [question.key, question]));
const RETRIES = 4;

// What is shown: the answer of the server, the file of an own image, the chosen view, and the guesses of the visitor.
const now = { answer: null, file: null, view: null, guesses: null, rank: 0, asked: 0 };
const score = { you: 0, model: 0, count: 0 };

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
const percent = (share) => `${Math.round(100 * share)}%`;
const level = percent(about.level);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

// ---- The server ----

class Refused extends Error {}

async function ask(address, options = {}) {
  for (let trial = 0; ; trial++) {
    let response;
    try {
      response = await fetch(address, options);
    } catch {
      throw new Refused(talk.offline);
    }
    if (response.status === 429 && trial < RETRIES) {
      say(talk.busy);
      const seconds = Number(response.headers.get("Retry-After")) || 2;
      await new Promise((done) => setTimeout(done, 1000 * seconds * (0.5 + Math.random())));
      continue;
    }
    if (response.status === 429) throw new Refused(talk.busy_end);
    const answer = await response.json().catch(() => ({ error: response.statusText }));
    if (!response.ok) throw new Refused(fill(talk.refused, { reason: answer.error }));
    return answer;
  }
}

const say = (text) => { find("status").textContent = text; };

function complain(text) {
  find("trouble").textContent = text;
  find("trouble").hidden = !text;
}

// Runs what shows another galaxy or image; the last one asked for is the one that is shown.
async function show(request, { file = null, address = null } = {}) {
  const turn = ++now.asked;
  find("main").setAttribute("aria-busy", "true");
  complain("");
  try {
    const answer = await request();
    if (turn !== now.asked) return;
    Object.assign(now, { answer, file });
    if (address !== null) history.pushState({}, "", address(answer));
    render();
  } catch (error) {
    if (turn !== now.asked) return;
    if (!(error instanceof Refused)) throw error;
    say("");
    find("loading").hidden = true;
    complain(error.message);
  } finally {
    if (turn === now.asked) find("main").setAttribute("aria-busy", "false");
  }
}

const addressOf = (answer) => `/galaxy/${encodeURIComponent(answer.id)}`;

const showGalaxy = (id, address = addressOf) =>
  show(() => ask(`/api/galaxies/${encodeURIComponent(id)}`), { address });

function showRandom(address = addressOf) {
  const kind = find("kind").value;
  return show(() => ask("/api/random" + (kind ? `?class=${encodeURIComponent(kind)}` : "")), { address });
}

function showOwn(file) {
  const size = file.size / 2 ** 20;
  const most = about.limits.bytes / 2 ** 20;
  if (size > most) return complain(fill(talk.too_large, { size: size.toFixed(1), most }));
  say(talk.sending);
  const request = async () => {
    const answer = await ask("/api/predict?details=1", { method: "POST", body: file });
    return { ...answer.predictions[0], id: null, people: null, name: file.name };
  };
  return show(request, { file, address: () => "/" });
}

// ---- What the numbers say ----

// The shares of the answers to a question among those who were asked; null if that is not known.
function sharesOf(question, fractions) {
  const values = question.answers.map((answer) => fractions[answer.column]);
  if (values.some((value) => value == null)) return null;
  const clipped = values.map((value) => Math.max(value, 0));
  if (question.denial !== null) {
    const whole = question.parent === null ? 1 : fractions[question.parent];
    if (!whole) return null;
    const yes = Math.min(clipped[0] / whole, 1);
    return [yes, 1 - yes];
  }
  const total = clipped.reduce((sum, value) => sum + value, 0);
  return total > 0 ? clipped.map((value) => value / total) : null;
}

const best = (shares) => shares.indexOf(Math.max(...shares));

function textOf(question, place) {
  return place < question.answers.length ? question.answers[place].text : question.denial;
}

// The place of an answer among those of its question, by its words.
function placeOf(question, text) {
  const place = question.answers.findIndex((answer) => answer.text === text);
  return place < 0 ? question.answers.length : place;
}

function headline(model) {
  if (model.class) return model.class;
  const parts = model.walk.map((step) => {
    const question = questions.get(step.question);
    const place = placeOf(question, step.answer);
    // A yes or no says nothing by itself.
    if (!about.galaxy_zoo_2) return step.answer.length < 4 ? `${question.text} ${step.answer}` : step.answer;
    return phrases[columns.indexOf(question.answers[place].column)];
  });
  const text = parts.filter(Boolean).join(", ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const surety = (share) => (share >= 0.8 ? talk.sure : share >= 0.6 ? talk.fairly : talk.torn);

function suretyOf(model) {
  const step = model.walk[0];
  const question = questions.get(step.question);
  const values = { sure: surety(step.share), share: percent(step.share), answer: step.answer, level };
  if (model.class) return fill(talk.sure_class, values);
  const column = question.answers[placeOf(question, step.answer)]?.column;
  const ends = model.intervals?.[column];
  if (!ends || question.parent !== null) return fill(talk.sure_of, values);
  return fill(talk.sure_interval, { ...values, low: percent(ends[0]), high: percent(ends[1]) });
}

// ---- Showing it ----

function render() {
  const { answer, file } = now;
  const what = file ? talk.own_image : fill(talk.galaxy, { id: answer.id });
  find("name").textContent = file ? `${talk.own_image}: ${answer.name}` : what;
  const link = find("permalink");
  link.hidden = Boolean(file);
  if (!file) {
    link.href = addressOf(answer);
    link.textContent = talk.permalink;
  }
  renderViews(what);
  renderNote();
  find("models").replaceChildren(...answer.models.map(card));
  renderBars();
  renderNear();
  find("result").hidden = true;
  const guessing = find("guess").checked && !file;
  now.guesses = guessing ? { waiting: [...about.first], given: [] } : null;
  if (guessing) renderGame();
  reveal(!guessing);
  if (guessing) return say(`${what}. ${talk.guess_question}`);
  const said = answer.models
    .map((model, index) => fill(talk.new_galaxy, { what: "", says: saysOf(index), headline: headline(model) }))
    .map((text) => text.replace(/^\. /, ""));
  say(`${what}. ${said.join(" ")}`);
}

function reveal(shown) {
  find("revealed").hidden = !shown;
  find("game").hidden = shown;
  find("near").hidden = !shown || !now.answer.nearest.length;
}

const saysOf = (index) => (several ? fill(talk.model_says, { name: about.models[index].name }) : talk.says);

function renderNote() {
  const frame = about.models.map((model) => model.frame).find((one) => one);
  const notes = now.answer.other_frame && frame ? [fill(talk.other_frame, frame)] : [];
  find("note").textContent = notes.join(" ");
  find("note").hidden = !notes.length;
}

function badge(index) {
  return several ? element("span", { class: `badge series-${index}` }, "AB"[index]) : null;
}

function card(model, index) {
  const made = element(
    "article",
    { class: "card model" },
    element("p", { class: "who" }, badge(index), saysOf(index)),
    element("p", { class: "headline" }, headline(model)),
    model.unusual ? element("p", { class: "warning" }, talk.unusual) : null,
    element("p", { class: "sure" }, suretyOf(model)),
  );
  if (model.class) made.append(...classOfPeople());
  if (model.possible?.length > 1) {
    made.append(element("p", { class: "hint" }, fill(talk.possible, { level, classes: model.possible.join(", ") })));
  }
  if (!model.class) made.append(element("ol", { class: "walk" }, ...model.walk.map((step) => stepOf(step, index))));
  if (model.gz2_class) {
    made.append(element("p", { class: "hint" }, `${talk.class_string}: `, element("code", {}, model.gz2_class)));
  }
  return made;
}

function classOfPeople() {
  const [question] = about.questions;
  const shares = now.answer.people && sharesOf(question, now.answer.people);
  return shares ? [element("p", {}, fill(talk.class_people, { answer: textOf(question, best(shares)) }))] : [];
}

function stepOf(step, index) {
  const question = questions.get(step.question);
  const meter = element("span", { class: `meter series-${index}`, "aria-hidden": "true" });
  meter.style.setProperty("--share", step.share);
  return element(
    "li",
    {},
    element("span", { class: "question" }, question.text),
    element("span", { class: "said" }, element("b", {}, step.answer), element("span", { class: "share" }, percent(step.share))),
    meter,
    peopleOn(question, step),
  );
}

function peopleOn(question, step) {
  if (!now.answer.people) return null;
  const shares = sharesOf(question, now.answer.people);
  if (shares === null) return element("span", { class: "people" }, talk.step_people_not_asked);
  const [mine, most] = [placeOf(question, step.answer), best(shares)];
  const values = { share: percent(shares[mine]), answer: textOf(question, most) };
  const agree = mine === most;
  return element(
    "span",
    { class: agree ? "people" : "people differ" },
    fill(agree ? talk.step_people : talk.step_people_differ, values),
  );
}

// The pictures of a galaxy, of which a visitor chooses the one that is shown large.
function renderViews(what) {
  const { answer } = now;
  const whole = now.file ? answer.picture : `/api/image/${encodeURIComponent(answer.id)}`;
  const views = [{ label: talk.view_whole, alt: fill(talk.alt_whole, { what }), source: whole }];
  answer.models.forEach((model, index) => {
    const name = several ? about.models[index].name : talk.the_model;
    const letter = { name: "AB"[index] };
    const label = several ? fill(talk.view_crop_of, letter) : talk.view_crop;
    views.push({ label, alt: fill(talk.alt_crop, { name }), source: model.crop, pixels: true });
    if (!about.attention) return;
    const looks = several ? fill(talk.view_looks_of, letter) : talk.view_looks;
    views.push({ label: looks, alt: fill(talk.alt_looks, { name }), source: null, model: index, pixels: true });
  });
  const buttons = views.map((view) => {
    const image = view.source
      ? element("img", { src: view.source, alt: "", class: view.pixels ? "pixels" : "" })
      : element("span", { class: "looks", "aria-hidden": "true" });
    const button = element("button", { type: "button", "aria-pressed": "false" }, image, element("span", {}, view.label));
    button.addEventListener("click", () => choose(view, button));
    return button;
  });
  find("views").replaceChildren(...buttons.map((button) => element("li", {}, button)));
  choose(views[0], buttons[0]);
}

function put(view, button) {
  const hero = find("hero");
  hero.src = view.source;
  hero.alt = view.alt;
  hero.className = view.pixels ? "pixels" : "";
  hero.hidden = false;
  find("loading").hidden = true;
  for (const other of find("views").querySelectorAll("button")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
}

// Shows a view; of several that are asked for, the last one stays.
async function choose(view, button) {
  now.view = view;
  const { answer, file } = now;
  const note = (text) => { if (view === now.view) find("view-note").textContent = text; };
  note(view.source ? view.note ?? "" : talk.looking);
  if (view.source) return put(view, button);
  // A button that is disabled would lose the focus of the keyboard.
  button.setAttribute("aria-busy", "true");
  try {
    answer.looks ??= file
      ? ask("/api/attention", { method: "POST", body: file })
      : ask(`/api/attention/${encodeURIComponent(answer.id)}`);
    const source = (await answer.looks).attention[view.model];
    view.note = source ? "" : talk.looks_nowhere;
    view.source = source ?? answer.models[view.model].crop;
    button.firstChild.replaceWith(element("img", { src: view.source, alt: "", class: "pixels" }));
    note(view.note);
    if (view === now.view) put(view, button);
  } catch (error) {
    answer.looks = undefined;
    if (!(error instanceof Refused)) throw error;
    note(error.message);
  } finally {
    button.removeAttribute("aria-busy");
  }
}

function renderNear() {
  const items = now.answer.nearest.map(({ id, distance }) => {
    const label = fill(talk.nearest_name, { id, distance: distance.toFixed(2) });
    const image = element("img", { src: `/api/image/${encodeURIComponent(id)}`, alt: label, loading: "lazy" });
    const follow = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      showGalaxy(id);
      find("name").scrollIntoView({ block: "nearest" });
    };
    return element("li", {}, element("a", { href: addressOf({ id }), onclick: follow }, image));
  });
  find("near-list").replaceChildren(...items);
}

// ---- Bars ----

function renderBars() {
  const { answer } = now;
  const series = answer.models.map((model, index) => ({
    who: several ? "AB"[index] : talk.model,
    name: several ? `${"AB"[index]}: ${about.models[index].name}` : talk.model,
    style: `series-${index}`,
    values: model.fractions,
    intervals: model.intervals,
  }));
  if (answer.people) series.push({ who: talk.people, name: talk.people, style: "series-people", values: answer.people });
  find("legend").replaceChildren(
    ...series.map((one) => element("li", {}, element("span", { class: `swatch ${one.style}` }), one.name)),
  );
  const range = series.some((one) => one.intervals) ? fill(page.bars_range, { level }) : "";
  find("bars-hint").textContent = `${meaning()} ${range}`;
  const asked = new Set(answer.models.flatMap((model) => model.walk.map((step) => step.question)));
  if (answer.people) walkOfPeople().forEach((key) => asked.add(key));
  const order = [...asked].map((key) => questions.get(key));
  const others = about.questions.filter((question) => !asked.has(question.key));
  find("bars").replaceChildren(...order.map((question) => barsOf(question, series)));
  find("other-bars").replaceChildren(...others.map((question) => barsOf(question, series)));
  find("others").hidden = !others.length;
}

// What the bars are, in words. Fractions of one question, and cumulative ones, are of all who look.
function meaning() {
  if (about.labels.kind === "classes") return page.bars_classes;
  const ofAll = about.questions.length === 1 || about.questions.some((question) => question.parent !== null);
  return ofAll ? page.bars_people : page.bars_shares;
}

function walkOfPeople() {
  const waiting = [...about.first];
  const keys = [];
  while (waiting.length) {
    const question = about.questions[waiting.shift()];
    const shares = sharesOf(question, now.answer.people);
    if (shares === null) continue;
    keys.push(question.key);
    waiting.unshift(...(question.answers[best(shares)]?.leads_to ?? []));
  }
  return keys;
}

function barsOf(question, series) {
  const answers = question.answers.map((answer) => {
    const bars = series.map((one) => barOf(one, answer.column));
    return element("li", {}, element("p", { class: "answer" }, answer.text), ...bars);
  });
  return element("section", { class: "bars" }, element("h3", {}, question.text), element("ul", {}, ...answers));
}

function barOf(one, column) {
  const value = one.values[column];
  if (value == null) {
    const text = element("span", { class: "who" }, one.who);
    return element("div", { class: "bar" }, text, element("span", { class: "track" }), element("span", { class: "value" }, talk.unknown));
  }
  const track = element("span", { class: `track ${one.style}`, "aria-hidden": "true" }, element("span", { class: "length" }));
  track.style.setProperty("--share", Math.min(Math.max(value, 0), 1));
  const ends = one.intervals?.[column];
  if (ends) {
    const range = element("span", { class: "range" });
    range.style.setProperty("--low", ends[0]);
    range.style.setProperty("--high", ends[1]);
    track.append(range);
  }
  const shown = element("span", { class: "value" }, percent(value));
  if (ends) {
    const text = fill(talk.range, { low: percent(ends[0]), high: percent(ends[1]) });
    shown.append(element("span", { class: "hidden" }, text));
  }
  return element("div", { class: "bar" }, element("span", { class: "who" }, one.who), track, shown);
}

// ---- You guess first ----

function renderGame() {
  const { waiting, given } = now.guesses;
  if (!waiting.length) return finishGame();
  const question = about.questions[waiting[0]];
  const choices = question.answers.map((answer) => answer.text);
  if (question.denial !== null) choices.push(question.denial);
  const buttons = choices.map((text, place) =>
    element("button", { type: "button", class: "choice", onclick: () => guess(question, place) }, text),
  );
  const title = element("h2", { tabindex: "-1", id: "game-title" }, question.text);
  find("game").replaceChildren(
    element("p", { class: "who" }, fill(talk.guess_step, { number: given.length + 1 })),
    title,
    element("div", { class: "choices", role: "group", "aria-labelledby": "game-title" }, ...buttons),
    element("button", { type: "button", class: "quiet", onclick: finishGame }, talk.guess_show),
  );
  if (given.length) title.focus();
}

function guess(question, place) {
  const { waiting, given } = now.guesses;
  given.push({ question, place });
  waiting.shift();
  waiting.unshift(...(question.answers[place]?.leads_to ?? []));
  renderGame();
}

function finishGame() {
  const { given } = now.guesses;
  const { answer } = now;
  now.guesses = null;
  const model = answer.models[0].fractions;
  const truth = answer.people ?? model;
  const judged = given
    .map(({ question, place }) => ({ place, people: sharesOf(question, truth), model: sharesOf(question, model) }))
    .filter(({ people, model: shares }) => people && shares);
  const you = judged.filter(({ place, people }) => place === best(people)).length;
  const right = judged.filter(({ people, model: shares }) => best(shares) === best(people)).length;
  score.you += you;
  score.model += right;
  score.count += judged.length;
  renderScore();
  const text = answer.people ? talk.guess_result : talk.guess_result_model;
  const result = find("result");
  result.hidden = !given.length;
  result.textContent = judged.length ? fill(text, { you, model: right, count: judged.length }) : talk.guess_none;
  reveal(true);
  find("answers").focus({ preventScroll: true });
}

function renderScore() {
  find("score-line").hidden = !find("guess").checked;
  const text = about.people ? talk.score : talk.score_model;
  find("score").textContent = score.count ? fill(text, score) : talk.score_none;
}

// ---- What visitors do ----

find("random").addEventListener("click", () => showRandom());
find("kind").addEventListener("change", () => showRandom());
find("surprising").addEventListener("click", () => {
  show(() => ask(`/api/surprising?rank=${now.rank}`), { address: addressOf });
  now.rank = (now.rank + 1) % about.galaxies;
});
find("by-id").addEventListener("submit", (event) => {
  event.preventDefault();
  showGalaxy(find("id").value.trim());
});
find("own").addEventListener("change", (event) => {
  if (event.target.files.length) showOwn(event.target.files[0]);
  event.target.value = ""; // so that choosing the same file again is a change
});
find("guess").addEventListener("change", () => {
  renderScore();
  if (find("guess").checked) showRandom();
  else if (now.answer) { now.guesses = null; reveal(true); }
});

// On small screens the further ways to choose are folded, so that the galaxy is seen at once.
const wide = matchMedia("(min-width: 60rem)");
const unfold = () => { find("more").open = wide.matches; };
wide.addEventListener("change", unfold);
unfold();

function dragging(event) {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  find("drop").hidden = false;
}
document.addEventListener("dragenter", dragging);
document.addEventListener("dragover", dragging);
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) find("drop").hidden = true;
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("drop").hidden = true;
  const { files } = event.dataTransfer;
  if (files.length > 1) complain(talk.several);
  else if (files.length) showOwn(files[0]);
});

// A part of an address in words; one that somebody has typed may hold a % of its own.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// The galaxy in the address, or a random one.
function showAddress() {
  const name = location.pathname.match(/^\/galaxy\/(.+)$/);
  return name ? showGalaxy(decoded(name[1]), null) : showRandom(null);
}
window.addEventListener("popstate", showAddress);
showAddress();
