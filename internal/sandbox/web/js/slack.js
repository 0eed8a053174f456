// Block Kit: messages and modals of Slack, drawn from the JSON the bot sent.

import { act, fileAddress } from './api.js';
import { busy, dialog, el, link, menu, nextID, search, showFault, toast } from './dom.js';
import { mrkdwn, plain, richText, unknown } from './slacktext.js';

// drawSlackMessage draws the inside of a message. ctx is {person, conversation,
// names}.
export function drawSlackMessage(message, ctx) {
  const on = { ...ctx, message: message.id };
  const parts = [];
  if (message.blocks?.length) parts.push(blocks(message.blocks, on));
  else if (message.text) parts.push(el('div', { class: 'text' }, mrkdwn(message.text, ctx.names)));
  for (const attachment of message.attachments ?? []) {
    const box = el('div', { class: 'attachment' },
      attachment.blocks?.length ? blocks(attachment.blocks, on) : mrkdwn(attachment.text ?? attachment.fallback, ctx.names));
    if (/^#[0-9a-f]{6}$/i.test(attachment.color ?? '')) box.style.borderInlineStartColor = attachment.color;
    parts.push(box);
  }
  for (const file of message.files ?? []) parts.push(drawFile(file, ctx));
  return parts;
}

// drawSlackHome draws a Home tab. ctx is {person, names}.
export function drawSlackHome(home, ctx) {
  return blocks(home.view.blocks ?? [], { ...ctx, conversation: '', message: '', home: true });
}

// slackShortcut is the app's shortcut on a message, which Slack keeps in its menu.
export function slackShortcut(message, ctx) {
  if (message.onlyYou) return null;
  const button = el('button', { type: 'button', class: 'plain', 'data-testid': 'shortcut' }, 'Look up in Defender');
  button.addEventListener('click', () => busy(button, () => act('slack/shortcut', ctx.person, { conversation: ctx.conversation, message: message.id })));
  return button;
}

function drawFile(file, ctx) {
  const address = fileAddress('slack', ctx.person, ctx.conversation, file.id);
  if (/\.png$/i.test(file.name)) return el('img', { class: 'picture', src: address, alt: file.title || file.name });
  return el('a', { class: 'file', href: address, download: file.name },
    el('span', { class: 'file-icon', 'aria-hidden': 'true' }, file.name.split('.').at(-1).toUpperCase()),
    el('span', {}, el('strong', {}, file.title || file.name), el('small', {}, `${file.name} · ${size(file.size)}`)));
}

export function size(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : bytes < 1 << 20 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / (1 << 20)).toFixed(1)} MB`;
}

function blocks(list, on) {
  return list.map((block) => drawBlock(block, on));
}

function drawBlock(block, on) {
  switch (block.type) {
    case 'header':
      return el('h4', { class: 'block-header' }, block.text?.text);
    case 'divider':
      return el('hr');
    case 'section':
      return el('div', { class: 'section' },
        el('div', {},
          block.text && el('p', {}, textObject(block.text, on.names)),
          block.fields && el('div', { class: 'fields' }, block.fields.map((f) => el('p', {}, textObject(f, on.names))))),
        block.accessory && drawElement(block.accessory, on));
    case 'context':
      return el('div', { class: 'context' }, (block.elements ?? []).map((e) => (e.type === 'image' ? remoteImage(e) : textObject(e, on.names))));
    case 'actions':
      return el('div', { class: 'actions' }, (block.elements ?? []).map((e) => drawElement(e, on)));
    case 'rich_text':
      return richText(block, on.names);
    case 'table':
      return drawTable(block, on.names);
    case 'container':
      return drawContainer(block, on);
    case 'image':
      return el('figure', {}, remoteImage(block), block.title && el('figcaption', {}, block.title.text));
  }
  return unknown(block);
}

function drawContainer(block, on) {
  const inside = blocks(block.child_blocks ?? [], on);
  if (!block.is_collapsible) return el('div', { class: 'container' }, el('strong', {}, block.title?.text), inside);
  return el('details', { class: 'container', open: !block.default_collapsed }, el('summary', {}, block.title?.text), inside);
}

function textObject(text, names) {
  return text.type === 'mrkdwn' ? mrkdwn(text.text, names) : el('span', {}, text.text);
}

// remoteImage shows the words for a picture: the page loads nothing from
// elsewhere.
function remoteImage(image) {
  return link(image.image_url, `🖼 ${image.alt_text ?? 'picture'}`);
}

function drawTable(block, names) {
  const [head, ...rows] = block.rows ?? [];
  const cell = (c) => (c.type === 'rich_text' ? richText(c, names) : c.text);
  return el('div', { class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Table' }, el('table', {},
    el('thead', {}, el('tr', {}, (head ?? []).map((c) => el('th', { scope: 'col' }, cell(c))))),
    el('tbody', {}, rows.map((row) => el('tr', {}, row.map((c) => el('td', {}, cell(c))))))));
}

// drawElement draws a button or menu of a message.
function drawElement(element, on) {
  const send = async (button, path, value) => {
    if (element.confirm && !(await confirmed(element.confirm))) return;
    await busy(button, () => act(path, on.person, {
      home: Boolean(on.home), conversation: on.conversation, message: on.message, action: element.action_id ?? '', value: value ?? '',
    }));
  };
  switch (element.type) {
    case 'button': {
      const style = `button ${element.style ?? ''}`;
      if (element.url) {
        const anchor = link(element.url, element.text?.text);
        anchor.className = style;
        // Slack tells the bot of clicks on links too.
        anchor.addEventListener('click', () => send(anchor, 'slack/click', element.value));
        return anchor;
      }
      const button = el('button', { type: 'button', class: style, 'aria-label': element.accessibility_label }, element.text?.text);
      button.addEventListener('click', () => send(button, 'slack/click', element.value));
      return button;
    }
    case 'static_select':
      return menu(element.placeholder?.text ?? 'Choose', options(element), (option, button) => send(button, 'slack/choose', option.value), { class: 'button' });
    case 'image':
      return remoteImage(element);
  }
  return unknown(element);
}

function options(element) {
  const all = element.options ?? (element.option_groups ?? []).flatMap((g) => g.options);
  return all.map((o) => ({ label: o.text?.text, detail: o.description?.text, value: o.value }));
}

// confirmed asks the question that a button carries.
function confirmed(question) {
  return new Promise((resolve) => {
    let answer = false;
    const box = dialog('slack-dialog confirm', question.title?.text ?? 'Are you sure?', () => resolve(answer));
    const choose = (value) => { answer = value; box.close(); };
    box.body.append(el('p', {}, textObject(question.text ?? { text: '' }, {})));
    box.append(el('footer', {},
      el('button', { type: 'button', class: 'button', 'data-testid': 'confirm-no', onclick: () => choose(false) }, question.deny?.text ?? 'No'),
      el('button', { type: 'button', class: `button ${question.style === 'danger' ? 'danger' : 'primary'}`, 'data-testid': 'confirm-yes', onclick: () => choose(true) },
        question.confirm?.text ?? 'Yes')));
  });
}

// SlackModal shows the modal that the person has open in Slack, if any.
export class SlackModal {
  #box = null;
  #shown = ''; // which view is drawn
  #fields = []; // {block, read, fault}
  #said = '{}'; // the bot's latest faults, as JSON

  // update brings the page in line with the state.
  update(modal, ctx) {
    const wanted = modal ? `${ctx.person} ${modal.id} ${modal.hash}` : '';
    if (wanted !== this.#shown) this.#draw(wanted, modal, ctx);
    // Others' news must not take away what the page itself found missing.
    const said = JSON.stringify(modal?.errors ?? {});
    if (said !== this.#said) this.#faults(modal?.errors ?? {});
    this.#said = said;
  }

  #draw(wanted, modal, ctx) {
    this.#shown = wanted;
    if (this.#box) {
      const old = this.#box;
      this.#box = null;
      old.close();
    }
    if (!modal) return;
    const box = dialog('slack-dialog', modal.view.title?.text ?? '', () => {
      if (this.#box !== box) return; // replaced or closed by Slack
      this.#box = null;
      act('slack/close', ctx.person).catch((err) => toast(err.message));
    });
    this.#box = box;
    this.#fields = [];
    this.#said = '';
    const on = { ...ctx, conversation: '', message: '' };
    const form = el('form', { id: nextID('form'), novalidate: true });
    for (const block of modal.view.blocks ?? []) {
      form.append(block.type === 'input' ? this.#input(block, ctx) : drawBlock(block, on));
    }
    const submit = el('button', { type: 'submit', form: form.id, class: 'button primary', 'data-testid': 'modal-submit' }, modal.view.submit?.text ?? 'Submit');
    form.addEventListener('submit', (e) => {
      e.preventDefault();
      if (!this.#complete()) return;
      this.#said = ''; // the same fault may come again
      const fields = Object.fromEntries(this.#fields.map((f) => [f.block, f.read()]));
      busy(submit, () => act('slack/submit', ctx.person, { fields }));
    });
    box.body.append(form);
    box.append(el('footer', {},
      el('button', { type: 'button', class: 'button', onclick: () => box.close() }, modal.view.close?.text ?? 'Close'),
      modal.view.submit && submit));
    (this.#fields.find((f) => !f.read()) ?? this.#fields[0])?.field.focus();
  }

  #input(block, ctx) {
    const id = nextID('field');
    const fault = el('p', { class: 'fault', id: `${id}-fault`, hidden: true });
    const attributes = {
      id, 'aria-describedby': `${id}-hint ${id}-fault`, required: !block.optional, placeholder: block.element.placeholder?.text,
    };
    const [control, read] = inputControl(block, attributes, ctx);
    const field = control.querySelector('input') ?? control;
    this.#fields.push({ block: block.block_id, optional: block.optional, read, fault, field });
    return el('div', { class: 'field' },
      el('label', { for: id }, block.label?.text, block.optional && el('small', {}, ' (optional)')),
      control,
      el('p', { class: 'field-hint', id: `${id}-hint` }, block.hint?.text),
      fault);
  }

  // complete tells whether everything needed is filled in, and leads to what is not.
  #complete() {
    const missing = this.#fields.filter((f) => !f.optional && !f.read());
    this.#faults(Object.fromEntries(missing.map((f) => [f.block, 'Please fill in this field.'])));
    missing[0]?.field.focus();
    return !missing.length;
  }

  #faults(errors) {
    const before = this.#fields.some((f) => !f.fault.hidden);
    for (const f of this.#fields) showFault(f.field, f.fault, errors[f.block] ?? '');
    if (!before) this.#fields.find((f) => !f.fault.hidden)?.field.focus();
  }
}

// inputControl is the control of an input block, and how to read it.
function inputControl(block, attributes, ctx) {
  const element = block.element;
  switch (element.type) {
    case 'plain_text_input': {
      const control = el(element.multiline ? 'textarea' : 'input', {
        ...attributes, maxlength: element.max_length, rows: element.multiline ? '4' : null, value: element.initial_value ?? '',
      });
      return [control, () => control.value.trim()];
    }
    case 'static_select': {
      const control = el('select', attributes,
        !element.initial_option && el('option', { value: '' }, element.placeholder?.text ?? 'Choose'),
        options(element).map((o) => el('option', { value: o.value, selected: o.value === element.initial_option?.value }, o.detail ? `${o.label} · ${o.detail}` : o.label)));
      return [control, () => control.value];
    }
    case 'external_select': {
      const initial = element.initial_option && { label: element.initial_option.text.text, value: element.initial_option.value };
      const least = element.min_query_length ?? 3;
      const control = search(attributes,
        (text) => (text.length < least ? Promise.resolve([]) : act('slack/suggest', ctx.person, { block: block.block_id, text })), { initial });
      return [control, control.read];
    }
  }
  return [unknown(element), () => ''];
}

// slackPreview is a message as one line, for announcements.
export function slackPreview(message) {
  return plain(message.text).replace(/<[^|>]*\|([^>]*)>/g, '$1').slice(0, 200);
}
