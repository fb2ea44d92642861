"use strict";
(() => {
  const main = document.getElementById("cards");
  const cards = [...main.children];
  const byId = (id) => document.getElementById(id); // null if the page does not have it
  const controls = ["sort", "occluded", "kind", "text"].map(byId).filter(Boolean);
  const doubtful = byId("doubtful");
  const buttons = [...document.querySelectorAll(".tools [data-view]")];
  const compareNames = new Intl.Collator("en", { numeric: true }).compare;
  const searchText = new Map(
    cards.map((card) => {
      const doubt = card.querySelector(".doubt");
      const parts = [card.dataset.name, card.dataset.kinds, doubt ? doubt.textContent : ""];
      return [card, parts.join(" ").toLowerCase()];
    }),
  );
  let visible = cards;

  const sortCards = () => {
    const option = byId("sort").selectedOptions[0];
    const direction = option.dataset.descending === "true" ? -1 : 1;
    const attribute = `data-sort-${option.value}`;
    const value = (card) => (card.hasAttribute(attribute) ? Number(card.getAttribute(attribute)) : null);
    const byName = (a, b) => compareNames(a.dataset.name, b.dataset.name);
    const byValue = (a, b) => {
      const [first, second] = [value(a), value(b)];
      if (first === null || second === null) {
        return (first === null) - (second === null) || byName(a, b);
      }
      return direction * (first - second) || byName(a, b);
    };
    cards.sort(option.value === "name" ? byName : byValue);
    // Moving a thousand cards in the document takes seconds; changing their CSS order does not.
    cards.forEach((card, place) => { card.style.order = place; });
  };

  const filterCards = () => {
    const chosen = (id) => (byId(id) ? byId(id).value : "");
    const [occluded, kind] = [chosen("occluded"), chosen("kind")];
    const words = chosen("text").toLowerCase().split(/\s+/).filter(Boolean);
    for (const card of cards) {
      card.hidden = !(
        (!occluded || card.dataset.occluded === occluded) &&
        (!kind || card.dataset.kinds.split(" ").includes(kind)) &&
        (!doubtful || !doubtful.checked || card.querySelector(".doubt")) &&
        words.every((word) => searchText.get(card).includes(word))
      );
    }
    visible = cards.filter((card) => !card.hidden);
    byId("count").textContent = `${visible.length} of ${cards.length} ${cards.length === 1 ? "face" : "faces"}`;
    byId("nothing").hidden = visible.length > 0;
  };

  const setView = (button, shown) => {
    button.setAttribute("aria-pressed", String(shown));
    document.body.classList.toggle(`hide-${button.dataset.view}`, !shown);
  };

  // The address stores the choices, so that a reload or a link shows the same.
  const readAddress = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const control of controls) {
      const value = state.get(control.id);
      const known = control.tagName !== "SELECT" || [...control.options].some((o) => o.value === value);
      if (value !== null && known) control.value = value;
    }
    if (doubtful) doubtful.checked = state.has("doubtful");
    const views = state.has("views") ? state.get("views").split(",") : null;
    if (views) buttons.forEach((button) => setView(button, views.includes(button.dataset.view)));
  };
  const writeAddress = () => {
    const state = new URLSearchParams();
    for (const control of controls) {
      if (control.value && control.value !== "name") state.set(control.id, control.value);
    }
    if (doubtful && doubtful.checked) state.set("doubtful", "1");
    const shown = buttons.filter((button) => button.getAttribute("aria-pressed") === "true");
    state.set("views", shown.map((button) => button.dataset.view).join(","));
    history.replaceState(null, "", `#${state}`);
  };

  byId("sort").addEventListener("change", () => { sortCards(); filterCards(); writeAddress(); });
  for (const control of [...controls, doubtful].filter((control) => control && control.id !== "sort")) {
    control.addEventListener("input", () => { filterCards(); writeAddress(); });
  }
  for (const button of buttons) {
    button.addEventListener("click", () => {
      setView(button, button.getAttribute("aria-pressed") !== "true");
      writeAddress();
    });
  }
  byId("size").addEventListener("input", (event) => {
    document.documentElement.style.setProperty("--picture", `${event.target.value}px`);
  });

  const lightbox = byId("lightbox");
  const large = lightbox.querySelector("img");
  const viewBar = lightbox.querySelector(".views");
  let [card, view, before] = [null, "", ""];
  const linksOf = (article) => [...article.querySelectorAll("a[data-view]")];
  const show = (nextCard, nextView) => {
    const links = linksOf(nextCard);
    if (!links.length) return;
    const link = links.find((entry) => entry.dataset.view === nextView) || links[0];
    [card, view] = [nextCard, link.dataset.view];
    large.src = link.href;
    large.alt = link.firstElementChild.alt;
    lightbox.querySelector("strong").textContent = card.dataset.name;
    const facts = [...card.querySelectorAll("dl div")].map((fact) =>
      [...fact.children].map((part) => part.textContent).join(" "),
    );
    lightbox.querySelector(".facts").textContent =
      `${facts.join(" · ")} · ${visible.indexOf(card) + 1} of ${visible.length}`;
    viewBar.replaceChildren(
      ...links.map((entry, index) => {
        const button = document.createElement("button");
        button.type = "button";
        button.dataset.view = entry.dataset.view;
        button.textContent = `${index + 1} ${entry.closest("figure").querySelector("figcaption").textContent}`;
        button.setAttribute("aria-pressed", String(entry === link));
        button.addEventListener("click", () => show(card, entry.dataset.view));
        return button;
      }),
    );
  };
  const step = (list, item, by) => list[(list.indexOf(item) + by + list.length) % list.length];
  const otherFace = (by) => show(step(visible, card, by), view);
  const otherView = (by) => show(card, step(linksOf(card).map((link) => link.dataset.view), view, by));
  const backAndForth = () => {
    const first = linksOf(card)[0].dataset.view;
    if (view === first) {
      show(card, before || first);
    } else {
      before = view;
      show(card, first);
    }
  };
  const actions = {
    ArrowLeft: () => otherFace(-1),
    ArrowRight: () => otherFace(1),
    ArrowUp: () => otherView(-1),
    ArrowDown: () => otherView(1),
    " ": backAndForth,
  };
  main.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-view]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    before = "";
    lightbox.showModal();
    show(link.closest("article"), link.dataset.view);
  });
  lightbox.addEventListener("keydown", (event) => {
    const number = Number(event.key) - 1;
    const link = event.key.trim() ? linksOf(card)[number] : undefined;
    if (!actions[event.key] && !link) return;
    event.preventDefault();
    if (link) show(card, link.dataset.view);
    else actions[event.key]();
  });
  lightbox.addEventListener("click", (event) => {
    const act = event.target.dataset.act;
    if (act === "close") lightbox.close();
    else if (act) otherFace(act === "next" ? 1 : -1);
  });
  large.addEventListener("click", backAndForth);

  document.body.classList.remove("plain");
  readAddress();
  sortCards();
  filterCards();
})();
