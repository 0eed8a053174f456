// One platform's column: conversations with unread marks, messages with their
// threads, and the composer.

import { act, payload } from './api.js';
import { el, nextID, patch, time, toast } from './dom.js';

// Column shows one platform. look says what differs between the two:
//
//   platform       'slack' or 'teams'
//   title          shown above the conversations
//   sign           before a channel's name
//   home           ID of the conversation that is open at first
//   headings       [of the channels, of the direct chats]
//   draw           (message, ctx) → nodes inside a message
//   preview        (message) → one line
//   page           what the app shows beside its direct chat, if anything:
//                  {tabs: [['home' or 'messages', label], …] in their order,
//                  draw: (page, ctx) → nodes, open: (person) → promise, fleeting: true when
//                  it is there only while it is shown}
//   more           (message, ctx) → what else can be done with it, if anything
//   opened         (person, conversation) when it is shown, or something in it is new,
//                  if anybody wants to know
//   hint           (conversation) → placeholder of the composer
//   apps           (where, attach) → {button, panel, close, draw}: what puts cards into
//                  messages, if anything
export class Column {
  #look;
  #person = '';
  #conversations = [];
  #names = {};
  #page = null; // what the app shows
  #tab = 'messages'; // or 'home', of the direct chat
  #open; // conversation ID, or 'direct'
  #told = ''; // what the last call of opened was about
  #thread = null; // the message whose thread is being written in
  #attached = null; // what goes out with the message, {label, detail, card}
  #drafts = new Map(); // by conversation, {text, attached}
  #seen; // newest message seen, by person and conversation
  #dom = {};

  constructor(root, look) {
    this.#look = look;
    this.#open = look.home;
    this.#seen = JSON.parse(sessionStorage.getItem(`seen ${look.platform}`) ?? '{}');
    this.#build(root);
  }

  #build(root) {
    const { platform, title, headings } = this.#look;
    const d = this.#dom;
    d.root = root;
    d.channels = el('ul');
    d.direct = el('ul');
    d.name = el('h3', { id: `${platform}-name` });
    d.about = el('p');
    d.messages = el('ol', { class: 'messages', tabindex: '0', 'aria-labelledby': d.name.id });
    d.empty = el('p', { class: 'empty' });
    d.pill = el('button', { type: 'button', class: 'pill', hidden: true });
    d.scroll = el('div', { class: 'scroll' }, d.messages, d.empty, d.pill);
    d.home = el('div', { class: 'home', tabindex: '0', hidden: true, 'data-testid': `${platform}-home` });
    d.tabs = this.#look.page && this.#appTabs();
    d.replying = el('p', { class: 'replying', hidden: true });
    d.text = el('textarea', {
      rows: '1', 'data-testid': `${platform}-composer`, 'aria-label': `Message in ${title}`, autocomplete: 'off', spellcheck: 'false', enterkeyhint: 'send',
    });
    d.fault = el('p', { class: 'fault', role: 'alert' });
    d.apps = this.#look.apps?.(() => ({ person: this.#person, conversation: this.#current().id }), (found) => { this.#attach(found); d.text.focus(); });
    d.attached = el('div', { class: 'attached', role: 'group', id: nextID('attached'), 'data-testid': `${platform}-attached`, hidden: true });
    if (d.apps) d.text.setAttribute('aria-describedby', d.attached.id);
    const form = el('form', { class: 'composer' }, d.replying, d.attached,
      el('div', { class: 'composer-line' }, d.apps?.button, d.text, el('button', { type: 'submit', class: 'send', 'aria-label': 'Send' }, '➤')), d.fault);
    d.parts = [
      el('nav', { class: 'conversations', 'aria-label': `${title} conversations` },
        el('h2', {}, title),
        el('h3', {}, headings[0]), d.channels,
        el('h3', {}, headings[1]), d.direct),
      el('div', { class: 'conversation' },
        el('header', {}, d.name, d.about, d.tabs),
        d.home, d.scroll, d.apps?.panel, form),
    ];
    d.form = form;

    form.addEventListener('submit', (e) => { e.preventDefault(); this.#send(); });
    d.text.addEventListener('keydown', (e) => {
      if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {
        e.preventDefault();
        this.#send();
      } else if (e.key === 'Escape' && this.#thread) {
        this.#writeIn(null);
      }
    });
    d.text.addEventListener('input', () => this.#grow());
    d.messages.addEventListener('scroll', () => { if (this.#atBottom()) d.pill.hidden = true; });
  }

  // appTabs are the tabs of the app: what it shows, and the chat with it.
  #appTabs() {
    const d = this.#dom;
    d.home.id = nextID('home');
    d.scroll.id = nextID('messages');
    const tab = (name, label, panel) => {
      const button = el('button', { type: 'button', role: 'tab', id: nextID('tab'), 'aria-controls': panel.id, 'data-testid': `${this.#look.platform}-tab-${name}`, onclick: () => this.#choose(name) }, label);
      panel.setAttribute('aria-labelledby', button.id);
      return button;
    };
    const panels = { home: d.home, messages: d.scroll };
    d.tabOf = Object.fromEntries(this.#look.page.tabs.map(([name, label]) => [name, tab(name, label, panels[name])]));
    const [first, last] = Object.keys(d.tabOf);
    const list = el('div', { class: 'app-tabs', role: 'tablist', 'aria-label': 'mdebot' }, Object.values(d.tabOf));
    list.addEventListener('keydown', (e) => {
      const to = { ArrowLeft: first, Home: first, ArrowRight: last, End: last }[e.key];
      if (!to) return;
      e.preventDefault();
      this.#choose(to);
      d.tabOf[to].focus();
    });
    return list;
  }

  // choose opens a tab of the app. Opening the first one is news to the app.
  #choose(tab) {
    const opened = tab === 'home' && this.#tab !== 'home';
    this.#tab = tab;
    this.#show();
    if (opened) this.#look.page.open?.(this.#person).catch((err) => toast(err.message));
  }

  // openChat shows the chat with the app.
  openChat() {
    this.#choose('messages');
    this.#dom.tabOf.messages.focus();
  }

  // showTab shows the tab that is chosen, in the app's direct chat alone.
  #showTab(current) {
    const d = this.#dom;
    if (!d.tabs) return;
    const home = current.direct && this.#tab === 'home';
    d.tabs.hidden = !current.direct || (this.#look.page.fleeting && !this.#page);
    d.home.hidden = !home;
    d.scroll.hidden = home;
    d.form.hidden = home;
    for (const panel of [d.home, d.scroll]) {
      if (!d.tabs.hidden) panel.setAttribute('role', 'tabpanel');
      else panel.removeAttribute('role');
    }
    for (const [name, button] of Object.entries(d.tabOf)) {
      button.setAttribute('aria-selected', String(name === this.#tab));
      button.tabIndex = name === this.#tab ? 0 : -1;
    }
    if (!home) {
      if (this.#look.page.fleeting) d.home.replaceChildren();
      return;
    }
    const ctx = { person: this.#person, names: this.#names };
    patch(d.home, [{ key: 'page', mark: `${this.#person} ${this.#page?.hash}` }],
      () => el('div', { class: 'home-page' }, this.#page ? this.#look.page.draw(this.#page, ctx) : el('p', { class: 'subtle' }, 'This is a work in progress.')));
  }

  // pause takes no clicks on messages until the next update.
  pause() {
    this.#dom.messages.inert = true;
    this.#dom.home.inert = true;
  }

  // update shows a new state, {conversations, names}, of a person. It returns the
  // lines to announce.
  update(person, state) {
    // Nothing is there to type into before there is somebody to type.
    if (!this.#person) this.#dom.root.append(...this.#dom.parts);
    const switched = person !== this.#person;
    this.#dom.messages.inert = false;
    this.#dom.home.inert = false;
    if (switched) {
      this.#person = person;
      this.#tab = 'messages';
      this.#writeIn(null);
      this.#dom.messages.replaceChildren();
      // What somebody has found is theirs to show.
      this.#dom.apps?.close();
      this.#attach(null);
      for (const draft of this.#drafts.values()) draft.attached = null;
    }
    this.#conversations = state.conversations;
    this.#names = state.names;
    this.#page = state.page ?? null;
    const lines = switched ? [] : this.#announcements();
    this.#known = new Set(this.#conversations.flatMap((c) => (c.messages ?? []).map((m) => m.id)));
    this.#show();
    return lines;
  }

  #known = new Set(); // IDs of the messages of the last state

  #announcements() {
    return this.#conversations.flatMap((c) => (c.messages ?? [])
      .filter((m) => !m.mine && !this.#known.has(m.id))
      .map((m) => `${this.#look.title}, ${c.direct ? 'direct' : c.name}: ${m.from}: ${this.#look.preview(m)}`));
  }

  // compose puts a line into the composer of the direct chat or a channel.
  compose(conversation, text) {
    this.#tab = 'messages';
    this.open(conversation);
    this.#dom.text.value = text;
    this.#grow();
    this.#dom.text.focus();
  }

  // open shows a conversation, by ID or 'direct'.
  open(conversation) {
    this.#drafts.set(this.#open, { text: this.#dom.text.value, attached: this.#attached });
    this.#open = conversation;
    const draft = this.#drafts.get(conversation);
    this.#dom.text.value = draft?.text ?? '';
    this.#dom.apps?.close();
    this.#attach(draft?.attached ?? null);
    this.#dom.fault.textContent = '';
    this.#dom.messages.replaceChildren();
    this.#writeIn(null);
    this.#show();
    this.#grow();
  }

  // unread counts what the person has not seen.
  unread() {
    return this.#conversations.reduce((sum, c) => sum + this.#unreadIn(c), 0);
  }

  // shown tells the column that it has become visible.
  shown() {
    this.#show();
  }

  #current() {
    return this.#conversations.find((c) => (this.#open === 'direct' ? c.direct : c.id === this.#open))
      ?? this.#conversations.find((c) => !c.direct) ?? this.#conversations[0];
  }

  #seenKey(conversation) {
    return `${this.#person} ${conversation.direct ? 'direct' : conversation.id}`;
  }

  #unreadIn(conversation) {
    const last = this.#seen[this.#seenKey(conversation)] ?? '';
    return (conversation.messages ?? []).filter((m) => !m.mine && m.id > last).length;
  }

  #markSeen(conversation) {
    if (!this.#dom.root.checkVisibility() || document.hidden) return;
    const newest = (conversation.messages ?? []).reduce((last, m) => (m.id > last ? m.id : last), '');
    if (!newest) return;
    this.#seen[this.#seenKey(conversation)] = newest;
    sessionStorage.setItem(`seen ${this.#look.platform}`, JSON.stringify(this.#seen));
  }

  #show() {
    const current = this.#current();
    if (!current) return;
    const d = this.#dom;
    this.#showTab(current);
    if (!current.direct || this.#tab === 'messages') this.#markSeen(current);
    this.#list(d.channels, this.#conversations.filter((c) => !c.direct), current);
    this.#list(d.direct, this.#conversations.filter((c) => c.direct), current);
    const name = current.direct ? 'mdebot' : `${this.#look.sign}${current.name}`;
    d.name.textContent = name;
    d.about.textContent = current.direct ? 'Direct chat with the bot' : current.shared ? 'Shared with another company' : '';
    d.text.placeholder = this.#thread ? 'Reply in the thread' : this.#look.hint(current);
    this.#draw(current);
    this.#tellOpened(current);
  }

  #tellOpened(conversation) {
    const { opened } = this.#look;
    if (!opened || !conversation.id || !this.#dom.root.checkVisibility() || document.hidden) return;
    const about = [this.#person, conversation.id, ...(conversation.messages ?? []).map((m) => `${m.id}.${m.edits}`)].join(' ');
    if (about === this.#told) return;
    this.#told = about;
    opened(this.#person, conversation);
  }

  #list(list, conversations, current) {
    const { platform, sign } = this.#look;
    patch(list, conversations.map((c) => {
      const unread = this.#unreadIn(c);
      return { key: c.direct ? 'direct' : c.id, mark: `${unread} ${c === current}`, conversation: c, unread };
    }), ({ key, conversation, unread }) => el('li', {}, el('button', {
      type: 'button',
      class: unread ? 'entry has-unread' : 'entry',
      'aria-current': conversation === current ? 'true' : null,
      'data-testid': conversation.direct ? `${platform}-direct` : `${platform}-channel-${conversation.id}`,
      onclick: () => this.open(key),
    }, el('span', { class: 'entry-name' }, conversation.direct ? 'mdebot' : `${sign}${conversation.name}`),
    unread > 0 && el('span', { class: 'badge' }, String(unread), el('span', { class: 'unseen' }, ' unread')))));
  }

  #draw(conversation) {
    const d = this.#dom;
    const messages = conversation.messages ?? [];
    const first = !d.messages.children.length;
    const stick = first || this.#atBottom();
    const top = messages.filter((m) => !m.thread || !messages.some((p) => p.id === m.thread));
    const added = [];
    added.push(...patch(d.messages, top.map((m) => ({ key: m.id, mark: '', message: m })),
      () => el('li', { class: 'thread' }, el('div', { class: 'head' }), el('ol', { class: 'replies' })),
      (node, { message }) => {
        const [head, replies] = node.children;
        patch(head, [this.#item(message)], (item) => this.#message(item.message, conversation));
        const answers = messages.filter((m) => m.thread === message.id);
        added.push(...patch(replies, answers.map((m) => this.#item(m)), (item) => el('li', {}, this.#message(item.message, conversation))));
        replies.setAttribute('aria-label', `${answers.length} replies`);
        replies.hidden = !answers.length;
      }));
    d.messages.classList.toggle('in-direct', conversation.direct);
    d.empty.hidden = messages.length > 0;
    d.empty.textContent = conversation.direct ? 'Nothing here yet. Write to the bot below.' : 'Nothing here yet.';
    if (stick) d.messages.scrollTop = d.messages.scrollHeight;
    if (!first) this.#point(added.at(-1));
  }

  #item(message) {
    return { key: message.id, mark: JSON.stringify(message), message };
  }

  // point offers the way to a new message that is out of sight.
  #point(node) {
    if (!node) return;
    const { pill, messages } = this.#dom;
    const box = node.getBoundingClientRect();
    const view = messages.getBoundingClientRect();
    if (box.bottom <= view.bottom + 4 && box.top >= view.top) return;
    if (box.top < view.bottom && this.#atBottom()) return; // taller than the view
    pill.hidden = false;
    pill.textContent = box.top < view.top ? '↑ New reply above' : '↓ New message';
    pill.onclick = () => {
      pill.hidden = true;
      node.scrollIntoView({ block: 'end' });
    };
  }

  #atBottom() {
    const { scrollTop, scrollHeight, clientHeight } = this.#dom.messages;
    return scrollHeight - scrollTop - clientHeight < 60;
  }

  #message(message, conversation) {
    const { platform } = this.#look;
    const ctx = { person: this.#person, conversation: conversation.id, names: this.#names };
    const classes = ['message', message.mine && 'mine', message.fromBot && 'from-bot', message.onlyYou && 'only-you'].filter(Boolean).join(' ');
    return el('article', { class: classes, 'data-testid': `${platform}-message`, 'data-id': message.id, 'aria-label': `${message.from}, ${new Date(message.at).toLocaleTimeString()}` },
      message.onlyYou && el('p', { class: 'only-you-note' }, '👁 Only visible to you'),
      avatar(message),
      el('div', { class: 'message-main' },
        el('header', {}, el('strong', { class: 'from' }, message.from), message.fromBot && el('span', { class: 'app' }, 'APP'), time(message.at),
          message.edits > 0 && el('span', { class: 'edited' }, '(edited)')),
        el('div', { class: 'content' }, this.#look.draw(message, ctx)),
        el('footer', {},
          this.#canReply(message, conversation) && el('button', { type: 'button', class: 'plain', onclick: () => this.#writeIn(message) }, 'Reply'),
          this.#look.more?.(message, ctx),
          message.fromBot && payloadView(platform, ctx, message))));
  }

  #canReply(message, conversation) {
    return !message.onlyYou && !message.thread && !(this.#look.platform === 'teams' && conversation.direct);
  }

  // writeIn makes the composer write in the thread of message, or in none.
  #writeIn(message) {
    const d = this.#dom;
    this.#thread = message;
    d.replying.hidden = !message;
    if (!message) {
      const current = this.#current();
      if (current) d.text.placeholder = this.#look.hint(current);
      return;
    }
    d.replying.replaceChildren(`Reply to ${message.from}: ${this.#look.preview(message).slice(0, 60)} `,
      el('button', { type: 'button', class: 'plain', onclick: () => { this.#writeIn(null); d.text.focus(); } }, 'Cancel'));
    d.text.placeholder = 'Reply in the thread';
    d.text.focus();
  }

  // attach shows what goes out with the message, or nothing.
  #attach(found) {
    const d = this.#dom;
    this.#attached = found;
    d.attached.hidden = !found;
    if (!found) {
      d.attached.removeAttribute('aria-label');
      d.attached.replaceChildren();
      return;
    }
    d.attached.setAttribute('aria-label', `Goes out with the message: ${found.label}, ${found.detail}`);
    d.attached.replaceChildren(d.apps.draw(found.card),
      el('button', { type: 'button', class: 'plain', 'aria-label': 'Remove the card', onclick: () => { this.#attach(null); d.text.focus(); } }, '×'));
  }

  async #send() {
    const d = this.#dom;
    const text = d.text.value.trim();
    const current = this.#current();
    const attached = this.#attached;
    if ((!text && !attached) || !current || d.text.readOnly) return;
    d.fault.textContent = '';
    d.text.readOnly = true;
    try {
      await act(`${this.#look.platform}/send`, this.#person, { conversation: current.id, thread: this.#thread?.id ?? '', text, ...(attached && { card: attached.card }) });
      d.text.value = '';
      this.#attach(null);
      d.messages.scrollTop = d.messages.scrollHeight;
    } catch (err) {
      d.fault.textContent = err.message;
    } finally {
      d.text.readOnly = false;
      this.#grow();
    }
  }

  #grow() {
    const { text } = this.#dom;
    text.style.height = 'auto';
    text.style.height = `${Math.min(text.scrollHeight + 2, 160)}px`;
  }
}

function avatar(message) {
  const initials = message.fromBot ? '🛡' : message.from.split(/\s+/).map((w) => w[0]).slice(0, 2).join('');
  const node = el('span', { class: 'avatar', 'aria-hidden': 'true' }, initials);
  if (!message.fromBot) node.style.setProperty('--hue', hue(message.from));
  return node;
}

// hue gives every name a colour of its own.
function hue(name) {
  return [...name].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 360, 7);
}

function payloadView(platform, ctx, message) {
  const code = el('pre', { tabindex: '0', 'aria-label': 'Payload' }, '…');
  const details = el('details', { class: 'payload' }, el('summary', {}, 'Show payload'), code);
  details.addEventListener('toggle', async () => {
    if (!details.open) return;
    try {
      code.textContent = JSON.stringify(await payload(platform, ctx.person, ctx.conversation, message.id), null, 2);
    } catch (err) {
      code.textContent = err.message;
    }
    code.scrollIntoView({ block: 'nearest' });
  });
  return details;
}
