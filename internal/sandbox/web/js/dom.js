// Small helpers around the DOM. Nothing here takes HTML: what the page shows is
// partly written by attackers, so it only ever becomes text nodes.

// el makes an element. Attributes named on… are event listeners; null, undefined
// and false leave an attribute or child out.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'value') node.value = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

// link is an anchor when the address is a web address, and its label otherwise.
export function link(url, ...label) {
  if (!/^https?:\/\//i.test(url ?? '')) return el('span', {}, label);
  return el('a', { href: url, target: '_blank', rel: 'noopener noreferrer' }, label);
}

// time shows the hour, and the whole date to whoever points at it.
export function time(at) {
  const date = new Date(at);
  return el('time', { datetime: date.toISOString(), title: date.toLocaleString() },
    date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
}

// patch makes list show items. An item is {key, mark, …}: its node is kept while
// mark stays the same, else drawn again. refresh, when given, is called for every
// node. It returns the nodes whose key is new.
export function patch(list, items, draw, refresh) {
  const existing = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const added = [];
  let place = list.firstElementChild;
  for (const item of items) {
    let node = existing.get(item.key);
    existing.delete(item.key);
    if (!node || node.mark !== item.mark) {
      const fresh = draw(item);
      fresh.dataset.key = item.key;
      fresh.mark = item.mark;
      if (node) {
        if (place === node) place = fresh; // what is moved loses the focus
        replace(node, fresh);
      } else {
        added.push(fresh);
      }
      node = fresh;
    }
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
    refresh?.(node, item);
  }
  for (const node of existing.values()) node.remove();
  return added;
}

// replace puts fresh in place of node. What was open stays open, a card that says
// the same keeps what was typed into it, and focus inside node moves to the control
// of the same name, or to the whole, so that a keyboard user does not lose the place.
function replace(node, fresh) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  const open = [...node.querySelectorAll('details')].map((d) => d.open);
  const expanded = [...node.querySelectorAll('.actions > [aria-expanded=true]')].map((button) => button.textContent);
  const cards = [...node.querySelectorAll('.card')];
  node.replaceWith(fresh);
  fresh.querySelectorAll('.card').forEach((card, i) => {
    if (card.mark !== undefined && card.mark === cards[i]?.mark) card.replaceWith(cards[i]);
  });
  fresh.querySelectorAll('details').forEach((d, i) => { d.open = open[i] ?? false; });
  for (const button of fresh.querySelectorAll('.actions > [aria-expanded=false]')) if (expanded.includes(button.textContent)) button.click();
  if (!focused) return;
  if (focused.isConnected) {
    focused.focus({ preventScroll: true });
    return;
  }
  const same = [...fresh.querySelectorAll('button, a, summary, input, select, textarea')]
    .find((control) => control.tagName === focused.tagName && control.textContent === focused.textContent);
  if (!same) fresh.tabIndex = -1;
  (same ?? fresh).focus({ preventScroll: true });
}

// busy runs work while button cannot be pressed again, and shows what went wrong.
export async function busy(button, work) {
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  try {
    await work();
  } catch (err) {
    toast(err.message);
  } finally {
    button.removeAttribute('aria-busy');
  }
}

// toast shows a sentence for some seconds, inside the open dialog when there is
// one: the rest of the page cannot be reached then.
export function toast(sentence) {
  const note = el('p', { class: 'toast', role: 'alert' }, sentence,
    el('button', { type: 'button', 'aria-label': 'Close', onclick: () => note.remove() }, '×'));
  ([...document.querySelectorAll('dialog[open]')].at(-1) ?? document.body).append(note);
  setTimeout(() => note.remove(), 12_000);
}

// dialog opens a modal dialog and returns it. The browser keeps the focus inside
// and gives it back on closing; closed is called however it was closed.
export function dialog(className, title, closed) {
  const back = wayBack();
  const heading = el('h2', { id: nextID('dialog') }, title);
  const body = el('div', { class: 'dialog-body' });
  const node = el('dialog', {
    class: className,
    'aria-labelledby': heading.id,
    oncancel: (e) => { e.preventDefault(); node.close(); },
  }, el('header', {}, heading, el('button', { type: 'button', class: 'plain', 'aria-label': 'Close', onclick: () => node.close() }, '×')), body);
  node.body = body;
  // The browser tells of the closing with the next frame it draws, and a page that is
  // busy or out of sight draws none.
  node.close = () => {
    if (!node.isConnected) return;
    HTMLDialogElement.prototype.close.call(node);
    node.remove();
    closed?.();
    back();
  };
  document.body.append(node);
  node.showModal();
  return node;
}

// wayBack remembers what has the focus, and returns what gives it back. The browser
// does that by itself unless the message was drawn again meanwhile; then the control
// of the same name gets it, or the message.
function wayBack() {
  const from = document.activeElement;
  const label = from?.textContent;
  const message = from?.closest('[data-id]')?.dataset.id;
  return () => {
    if (document.activeElement !== document.body || !message) return;
    const now = document.querySelector(`[data-id="${CSS.escape(message)}"]`);
    const same = [...now?.querySelectorAll('button, a, summary') ?? []].find((control) => control.textContent === label && control.checkVisibility());
    if (now && !same) now.tabIndex = -1;
    (same ?? now)?.focus({ preventScroll: true });
  };
}

// showFault says what is wrong with a field, in sight and to assistive technology;
// an empty fault takes it away.
export function showFault(field, note, fault) {
  note.textContent = fault;
  note.hidden = !fault;
  if (fault) field.setAttribute('aria-invalid', 'true');
  else field.removeAttribute('aria-invalid');
}

// menu is a button that opens a list of options, {label, detail, value}.
export function menu(label, options, choose, attributes = {}) {
  const list = el('div', { class: 'menu-list', role: 'menu', hidden: true });
  const button = el('button', { type: 'button', 'aria-haspopup': 'menu', 'aria-expanded': 'false', ...attributes }, label, el('span', { class: 'caret', 'aria-hidden': 'true' }));
  const root = el('div', { class: 'menu' }, button, list);
  const show = (open) => {
    list.hidden = !open;
    button.setAttribute('aria-expanded', String(open));
    if (!open) return;
    list.firstElementChild?.focus({ preventScroll: true });
    list.scrollIntoView({ block: 'nearest' });
  };
  for (const option of options) {
    list.append(el('button', {
      type: 'button',
      role: 'menuitem',
      onclick: () => { show(false); button.focus(); choose(option, button); },
    }, option.label, option.detail && el('small', {}, option.detail)));
  }
  button.addEventListener('click', () => show(list.hidden));
  root.addEventListener('keydown', (e) => {
    if (list.hidden) return;
    const entries = [...list.children];
    const at = entries.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[e.key];
    if (e.key === 'Escape') {
      show(false);
      button.focus();
    } else if (to !== undefined) {
      entries[(to + entries.length) % entries.length].focus();
    } else {
      return;
    }
    e.preventDefault();
    e.stopPropagation();
  });
  root.addEventListener('focusout', (e) => { if (!root.contains(e.relatedTarget)) show(false); });
  return root;
}

// search is a text field that suggests options, {label, detail, value}. load gives those
// for what was typed, or a sentence in their place. The node has read(), the value of
// the option that was chosen, and suggest(), which does as if somebody typed. With
// picked, which is called with the option, the list stays open until then.
export function search(attributes, load, { initial, picked } = {}) {
  const list = el('div', { class: 'menu-list', role: 'listbox', 'aria-label': 'Suggestions', id: nextID('options'), hidden: true });
  const input = el('input', {
    type: 'text', role: 'combobox', autocomplete: 'off', 'aria-autocomplete': 'list', 'aria-expanded': 'false', 'aria-controls': list.id,
    value: initial?.label ?? '', ...attributes,
  });
  const found = el('span', { class: 'unseen', role: 'status' });
  const root = el('div', { class: 'search' }, input, list, found);
  let chosen = initial?.value ?? '';
  let asked = 0;
  let offered = [];
  let at = -1; // which of them is marked
  const show = (open) => {
    if (!open && picked) return;
    list.hidden = !open;
    input.setAttribute('aria-expanded', String(open));
    if (!open) input.removeAttribute('aria-activedescendant');
  };
  const pick = (option) => {
    chosen = option.value;
    input.value = option.label;
    show(false);
    picked?.(option);
  };
  const highlight = (index) => {
    const options = [...list.querySelectorAll('[role=option]:not([aria-disabled])')];
    if (!options.length) return;
    at = (index + options.length) % options.length;
    options.forEach((o, i) => o.setAttribute('aria-selected', String(i === at)));
    input.setAttribute('aria-activedescendant', options[at].id);
    options[at].scrollIntoView({ block: 'nearest' });
  };
  const suggest = async () => {
    const turn = ++asked;
    let options;
    let none = 'Nothing found';
    try {
      options = await load(input.value);
      if (typeof options === 'string') [options, none] = [[], options];
    } catch (err) {
      options = [];
      toast(err.message);
    }
    if (turn !== asked || document.activeElement !== input) return;
    const marked = options.findIndex((option) => option.value === offered[at]?.value);
    at = -1;
    input.removeAttribute('aria-activedescendant');
    offered = options;
    list.replaceChildren(...options.map((option) => el('div', {
      role: 'option',
      id: nextID('option'),
      'aria-selected': 'false',
      onmousedown: (e) => { e.preventDefault(); pick(option); },
    }, option.label, option.detail && el('small', {}, option.detail))));
    found.textContent = options.length ? `${options.length} found` : none;
    if (!options.length) list.append(el('div', { role: 'option', 'aria-disabled': 'true', 'aria-selected': 'false' }, none));
    show(true);
    if (marked >= 0) highlight(marked);
  };
  let timer;
  input.addEventListener('input', () => {
    chosen = '';
    clearTimeout(timer);
    timer = setTimeout(suggest, 150);
  });
  input.addEventListener('blur', () => show(false));
  input.addEventListener('keydown', (e) => {
    if (e.key === 'ArrowDown' && list.hidden) suggest();
    else if (e.key === 'ArrowDown') highlight(at + 1);
    else if (e.key === 'ArrowUp' && !list.hidden) highlight(at - 1);
    else if (e.key === 'Enter' && !list.hidden && at >= 0) list.children[at].dispatchEvent(new MouseEvent('mousedown', { cancelable: true }));
    else if (e.key === 'Enter' && !list.hidden) show(false); // the next one sends the form
    else if (e.key === 'Escape' && !list.hidden) show(false);
    else return;
    e.preventDefault();
    e.stopPropagation();
  });
  root.read = () => chosen;
  root.suggest = suggest;
  return root;
}

let ids = 0;

// nextID is an element ID that is not used yet.
export function nextID(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}
