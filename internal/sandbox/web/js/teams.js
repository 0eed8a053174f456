// Adaptive Cards: messages and dialogs of Teams, drawn from the JSON the bot sent.

import { act, fileAddress } from './api.js';
import { busy, dialog, el, link, menu, nextID, search, showFault } from './dom.js';
import { dates, markdown } from './teamstext.js';

const consent = 'application/vnd.microsoft.teams.card.file.consent';
const fileInfo = 'application/vnd.microsoft.teams.card.file.info';

// drawTeamsMessage draws the inside of a message. ctx is {person, conversation}.
export function drawTeamsMessage(message, ctx) {
  const parts = [];
  if (message.text) parts.push(el('div', { class: 'text' }, message.fromBot ? markdown(message.text) : mentions(message.text, ctx.names)));
  if (message.card) {
    const send = (action, inputs) => act('teams/click', ctx.person, {
      message: message.id, title: action.title ?? '', verb: action.verb ?? '', data: action.data ?? {}, inputs,
    }).then((outcome) => {
      if (outcome.dialog) openDialog(outcome.dialog, ctx);
    });
    const { node } = new Card(message.card, send, { find: finder(ctx, message.id) });
    node.mark = JSON.stringify(message.card);
    parts.push(node);
  }
  if (message.note) {
    parts.push(el('p', { class: message.failed ? 'note failed' : 'note', role: 'status' }, message.failed && '⚠ ', markdown(message.note)));
  }
  for (const attachment of message.attachments ?? []) parts.push(drawAttachment(attachment, message, ctx));
  return parts;
}

// drawAttached draws the card of a message that is still being written. Nothing in it
// can be pressed there.
export function drawAttached(card) {
  const { node } = new Card(card, () => {});
  node.inert = true;
  return node;
}

// mentions draws the names after @ in what a person wrote.
function mentions(text, names) {
  const escaped = names.map((n) => n.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return text.split(new RegExp(`(@(?:${escaped.join('|')}))`)).map((part, i) => (i % 2 ? el('span', { class: 'mention' }, part.slice(1)) : part));
}

function drawAttachment(attachment, message, ctx) {
  switch (attachment.type) {
    case consent: {
      const answer = (accept) => (e) => busy(e.currentTarget, () => act('teams/file', ctx.person, { message: message.id, accept }));
      return el('div', { class: 'card' },
        el('p', { class: 'heading' }, attachment.name),
        el('p', {}, attachment.content?.description),
        el('p', { class: 'subtle' }, `${attachment.content?.sizeInBytes ?? 0} bytes, to be saved in your OneDrive`),
        el('div', { class: 'actions' },
          el('button', { type: 'button', class: 'button positive', onclick: answer(true) }, 'Allow'),
          el('button', { type: 'button', class: 'button', onclick: answer(false) }, 'Decline')));
    }
    case fileInfo:
      return el('a', { class: 'file', href: fileAddress('teams', ctx.person, ctx.conversation, attachment.name), download: attachment.name },
        el('span', { class: 'file-icon', 'aria-hidden': 'true' }, attachment.name.split('.').at(-1).toUpperCase()), el('strong', {}, attachment.name));
  }
  return el('p', { class: 'unknown' }, `[cannot draw ${attachment.type}]`);
}

// finder asks the bot what to offer for text that is typed into an input of the
// message or dialog with the ID shown.
function finder(ctx, shown) {
  return (input, text) => act('teams/search', ctx.person, { shown, input, text });
}

// openDialog shows a dialog of the bot until it is closed or has been answered.
function openDialog(first, ctx) {
  const box = dialog('teams-dialog', first.title || 'mdebot');
  const show = (d) => {
    if (d.title) box.querySelector('h2').textContent = d.title;
    const card = new Card(d.card, async (_, inputs) => {
      const outcome = await act('teams/submit', ctx.person, { dialog: d.id, inputs });
      if (outcome.dialog) show(outcome.dialog);
      else if (outcome.note) close(outcome.note);
      else box.close();
    }, { submits: true, find: finder(ctx, d.id) });
    box.body.replaceChildren(card.node);
    box.body.querySelector('input, textarea, select')?.focus();
  };
  const close = (note) => {
    const done = el('button', { type: 'button', class: 'button positive', onclick: () => box.close() }, 'OK');
    box.body.replaceChildren(el('p', { role: 'status' }, markdown(note)), el('div', { class: 'actions' }, done));
    done.focus();
  };
  show(first);
}

const sizes = ['Small', 'Default', 'Medium', 'Large', 'ExtraLarge'];
const colors = ['Dark', 'Light', 'Accent', 'Good', 'Warning', 'Attention'];
const spacings = ['None', 'Small', 'Medium', 'Large', 'ExtraLarge', 'Padding'];
const containers = ['emphasis', 'accent', 'good', 'warning', 'attention'];

// pick is value in lower case when it is one of known, for a class name.
function pick(prefix, value, known) {
  const found = known.find((k) => k.toLowerCase() === String(value ?? '').toLowerCase());
  return found ? `${prefix}-${found.toLowerCase()}` : '';
}

// Card is one Adaptive Card. send(action, inputs) is called for Action.Execute
// and Action.Submit, find(input, text) for inputs that search.
class Card {
  #send;
  #find;
  #submits;
  #inputs = new Map(); // by ID: {read, required, fault, note, field}
  #byID = new Map(); // elements that can be shown and hidden

  constructor(card, send, { submits = false, find } = {}) {
    this.#send = send;
    this.#find = find;
    this.#submits = submits;
    this.node = el('div', { class: 'card' }, this.#card(card));
  }

  #card(card) {
    return [...(card.body ?? []).map((e) => this.#element(e)), this.#actions(card.actions)];
  }

  // element draws a body element with what all of them have in common.
  #element(element) {
    let node = this.#draw(element);
    if (!node) {
      if (element.fallback && element.fallback !== 'drop') return this.#element(element.fallback);
      node = el('p', { class: 'unknown' }, `[cannot draw ${element.type}]`);
    }
    const spacing = pick('spacing', element.spacing, spacings);
    if (spacing) node.classList.add(spacing);
    if (element.separator) node.classList.add('separator');
    if (element.isVisible === false) node.hidden = true;
    if (element.id) this.#byID.set(element.id, node);
    return node;
  }

  #draw(element) {
    switch (element.type) {
      case 'TextBlock':
        return el(element.style === 'heading' ? 'h4' : 'p', { class: textClass(element) }, markdown(element.text));
      case 'RichTextBlock':
        return el('p', { class: 'text-block' }, (element.inlines ?? []).map((run) => this.#run(run)));
      case 'FactSet':
        return el('dl', { class: 'facts' }, (element.facts ?? []).map((f) => [el('dt', {}, markdown(f.title)), el('dd', {}, markdown(f.value))]));
      case 'Container':
        return this.#clickable(element, el('div', { class: `container ${pick('style', element.style, containers)} ${element.bleed ? 'bleed' : ''}` },
          (element.items ?? []).map((e) => this.#element(e))));
      case 'ColumnSet':
        return el('div', { class: `columns ${pick('style', element.style, containers)}` }, (element.columns ?? []).map((c) => this.#column(c)));
      case 'Table':
        return this.#table(element);
      case 'ActionSet':
        return this.#actions(element.actions) ?? el('div');
      case 'Image':
        return drawImage(element);
      case 'ImageSet':
        return el('div', { class: 'columns' }, (element.images ?? []).map(drawImage));
    }
    return element.type?.startsWith('Input.') ? this.#input(element) : null;
  }

  #run(run) {
    if (typeof run === 'string') return run;
    const text = el('span', { class: `${textClass(run)} run` }, dates(run.text ?? ''));
    if (run.italic) text.classList.add('italic');
    if (run.strikethrough) text.classList.add('struck');
    return run.selectAction?.type === 'Action.OpenUrl' ? link(run.selectAction.url, text) : text;
  }

  #clickable(element, node) {
    const action = element.selectAction;
    if (!action) return node;
    if (action.type === 'Action.OpenUrl') return el('div', {}, link(action.url, node));
    return el('button', { type: 'button', class: 'clickable', onclick: (e) => this.#press(action, e.currentTarget) }, node);
  }

  #column(column) {
    const node = this.#element({ ...column, type: 'Container' });
    const width = String(column.width ?? 'stretch');
    if (width === 'auto') node.style.flex = '0 1 auto';
    else if (/^\d+px$/.test(width)) node.style.flex = `0 0 ${width}`;
    else node.style.flex = `${Number(width) || 1} 1 0`;
    return node;
  }

  #table(table) {
    const header = table.firstRowAsHeader !== false;
    const row = (r, i) => el('tr', {}, (r.cells ?? []).map((c) => el(header && i === 0 ? 'th' : 'td', { scope: header && i === 0 ? 'col' : null },
      (c.items ?? []).map((e) => this.#element(e)))));
    const rows = (table.rows ?? []).map(row);
    return el('div', { class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Table' }, el('table', {},
      header && el('thead', {}, rows.shift()), el('tbody', {}, rows)));
  }

  // actions draws a row of buttons. Those that are secondary go into a menu, and
  // cards to show open below.
  #actions(actions) {
    if (!actions?.length) return null;
    const row = el('div', { class: 'actions' });
    const below = el('div', { class: 'shown-cards' });
    const secondary = actions.filter((a) => a.mode === 'secondary');
    for (const action of actions) {
      if (action.mode === 'secondary') continue;
      const button = action.type === 'Action.OpenUrl'
        ? link(action.url, action.title)
        : el('button', { type: 'button' }, action.title);
      button.className = `button ${pick('', action.style, ['positive', 'destructive']).slice(1)}`;
      if (action.type === 'Action.ShowCard') this.#showCard(action, button, row, below);
      else if (action.type !== 'Action.OpenUrl') button.addEventListener('click', () => this.#press(action, button));
      if (this.#submits && action.type === 'Action.Submit') {
        button.dataset.testid = 'modal-submit';
        button.classList.add('positive');
      }
      row.append(button);
    }
    if (secondary.length) {
      row.append(menu('More', secondary.map((a) => ({ label: a.title, action: a })), (option, button) => {
        if (option.action.type === 'Action.OpenUrl') window.open(option.action.url, '_blank', 'noopener,noreferrer');
        else this.#press(option.action, button);
      }, { class: 'button' }));
    }
    return el('div', { class: 'action-set' }, row, below);
  }

  #showCard(action, button, row, below) {
    const card = el('div', { class: 'shown-card', hidden: true, id: nextID('card') }, this.#card(action.card ?? {}));
    below.append(card);
    button.setAttribute('aria-expanded', 'false');
    button.setAttribute('aria-controls', card.id);
    button.addEventListener('click', () => {
      const open = card.hidden;
      for (const other of below.children) other.hidden = true;
      for (const other of row.querySelectorAll('[aria-expanded]')) other.setAttribute('aria-expanded', 'false');
      card.hidden = !open;
      button.setAttribute('aria-expanded', String(open));
      card.scrollIntoView({ block: 'nearest' });
    });
  }

  #press(action, button) {
    switch (action.type) {
      case 'Action.ToggleVisibility':
        for (const target of action.targetElements ?? []) {
          const node = this.#byID.get(target.elementId ?? target);
          if (node) node.hidden = target.isVisible === undefined ? !node.hidden : !target.isVisible;
        }
        return;
      case 'Action.Execute':
      case 'Action.Submit':
        if (action.associatedInputs !== 'none' && !this.#complete()) return;
        busy(button, () => this.#send(action, Object.fromEntries([...this.#inputs].map(([id, input]) => [id, input.read()]))));
    }
  }

  // complete tells whether all required inputs are filled in, and marks the others.
  #complete() {
    let first = null;
    for (const input of this.#inputs.values()) {
      const missing = input.required && !input.read();
      showFault(input.field, input.note, missing ? input.fault : '');
      if (missing) first ??= input.field;
    }
    first?.focus();
    return !first;
  }

  #input(element) {
    const id = nextID('input');
    const attributes = { id, placeholder: element.placeholder, 'aria-describedby': `${id}-fault`, required: Boolean(element.isRequired) };
    const [control, read] = cardControl(element, attributes, this.#find);
    const field = control.querySelector('input') ?? control;
    const note = el('p', { class: 'fault', id: `${id}-fault`, hidden: true });
    this.#inputs.set(element.id, { read, required: element.isRequired, fault: element.errorMessage ?? 'This is needed.', note, field });
    return el('div', { class: 'field' },
      element.label && el('label', { for: id }, element.label, element.isRequired && el('span', { class: 'required', 'aria-hidden': 'true' }, ' *')),
      control, note);
  }
}

function textClass(element) {
  return ['text-block', pick('size', element.size, sizes), pick('color', element.color, colors),
    element.weight === 'Bolder' ? 'bolder' : '', element.isSubtle ? 'subtle' : '',
    element.fontType === 'Monospace' ? 'mono' : '', element.wrap === false ? 'nowrap' : ''].filter(Boolean).join(' ');
}

function drawImage(image) {
  if (!image.url?.startsWith('data:image/')) return link(image.url, `🖼 ${image.altText ?? 'picture'}`);
  return el('img', { class: 'picture', src: image.url, alt: image.altText ?? '' });
}

// cardControl is the control of an input, and how to read it. find is for inputs that
// search as one types.
function cardControl(input, attributes, find) {
  switch (input.type) {
    case 'Input.ChoiceSet': {
      const choices = (input.choices ?? []).map((c) => ({ label: c.title, value: c.value }));
      if (input.style === 'filtered') {
        const load = input['choices.data']
          ? (text) => find(input.id, text)
          : async (text) => choices.filter((c) => c.label.toLowerCase().includes(text.toLowerCase()));
        const control = search(attributes, load, { initial: choices.find((c) => c.value === input.value) });
        return [control, control.read];
      }
      if (input.style === 'expanded' || input.isMultiSelect) return choiceList(input, choices, attributes);
      const control = el('select', attributes,
        input.value === undefined && el('option', { value: '' }, input.placeholder ?? 'Choose'),
        choices.map((c) => el('option', { value: c.value, selected: c.value === input.value }, c.label)));
      return [control, () => control.value];
    }
    case 'Input.Toggle': {
      const control = el('input', { ...attributes, type: 'checkbox', checked: input.value === (input.valueOn ?? 'true') });
      return [el('label', { class: 'choice' }, control, input.title), () => (control.checked ? input.valueOn ?? 'true' : input.valueOff ?? 'false')];
    }
    case 'Input.Text': {
      const control = el(input.isMultiline ? 'textarea' : 'input', {
        ...attributes, rows: input.isMultiline ? '4' : null, maxlength: input.maxLength, value: input.value ?? '',
      });
      return [control, () => control.value];
    }
  }
  const type = { 'Input.Number': 'number', 'Input.Date': 'date', 'Input.Time': 'time' }[input.type] ?? 'text';
  const control = el('input', { ...attributes, type, value: input.value ?? '' });
  return [control, () => control.value];
}

function choiceList(input, choices, attributes) {
  const name = nextID('choice');
  const initial = String(input.value ?? '').split(',');
  const boxes = choices.map((c, i) => el('input', {
    type: input.isMultiSelect ? 'checkbox' : 'radio', name, value: c.value, checked: initial.includes(c.value), id: i === 0 ? attributes.id : null,
  }));
  const node = el('div', { role: 'group', 'aria-label': input.label }, choices.map((c, i) => el('label', { class: 'choice' }, boxes[i], c.label)));
  return [node, () => boxes.filter((b) => b.checked).map((b) => b.value).join(',')];
}
