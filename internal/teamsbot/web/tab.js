// The tab "Requests" of mdebot's personal app: asks mdebot every few seconds what
// waits for whoever looks, and shows it. It decides nothing.
//
// What the server sends are names of elements and texts. Only those listed here become
// nodes, and text only ever becomes text: much of it was written by attackers.
'use strict';

(() => {
  const { app, authentication } = window.microsoftTeams;

  const address = '/teams/tab/page';
  const pause = 10_000; // between two questions, while somebody looks
  const longest = 80_000; // between two that fail
  const patience = 30_000; // for one answer
  const old = 60_000; // from when somebody who comes back comes anew

  const known = {
    section: ['class', 'aria-labelledby'], h1: ['id'], h2: ['id'], h3: [], p: ['class'], div: ['class'], dl: ['class'], dt: [], dd: [], ul: [], li: [],
    table: [], caption: [], thead: [], tbody: [], tr: [], th: [], td: [], bdi: [], code: [], strong: [], time: ['datetime'], a: ['href', 'rel', 'target', 'aria-label'],
  };

  const page = document.getElementById('page');
  const state = document.getElementById('state');
  const news = document.getElementById('news');

  let tag = ''; // of the page that is shown
  let shown = null; // when it was last known to be true
  let asked = 0; // when mdebot was last asked
  let failures = 0;
  let asking = false;
  let timer;

  // make is the node that a piece of the page becomes.
  function make(piece) {
    if (!Object.hasOwn(known, piece.e)) throw new Error('an element that is not known');
    const node = document.createElement(piece.e);
    if (piece.k) node.dataset.key = piece.k;
    fill(node, piece);
    return node;
  }

  // fill makes a node say what a piece says, and touches nothing that it says already.
  function fill(node, piece) {
    for (const name of known[piece.e]) {
      const value = piece.a?.[name];
      if (value === undefined || (name === 'href' && !value.startsWith('https://'))) node.removeAttribute(name);
      else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
    }
    if (piece.e === 'time') patch(node, [moment(piece.a?.datetime, piece.c?.[0])]);
    else patch(node, piece.c ?? []);
  }

  // moment is a time where the reader is.
  function moment(at, otherwise) {
    const date = new Date(at);
    if (Number.isNaN(date.getTime())) return otherwise ?? '';
    const today = date.toDateString() === new Date().toDateString();
    return today ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
      : date.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
  }

  // patch makes the children of a node those pieces. Those with a key stay the same
  // nodes wherever they are, the others as long as they are of one kind.
  function patch(parent, pieces) {
    const keyed = new Map([...parent.children].filter((n) => n.dataset.key).map((n) => [n.dataset.key, n]));
    let place = parent.firstChild;
    for (const piece of pieces) {
      let node;
      if (typeof piece === 'string') {
        node = place?.nodeType === Node.TEXT_NODE ? place : document.createTextNode(piece);
        if (node.data !== piece) node.data = piece;
      } else {
        const fits = piece.k ? keyed.get(piece.k) : place?.nodeType === Node.ELEMENT_NODE && !place.dataset.key ? place : null;
        if (fits && fits.localName === piece.e) {
          node = fits;
          fill(node, piece);
        } else {
          node = make(piece);
        }
        keyed.delete(piece.k);
      }
      if (node === place) {
        place = place.nextSibling;
        continue;
      }
      // What is gone makes way, rather than that what stays moves and loses the focus.
      while (place && node.parentNode === parent && place !== node && !(place.dataset?.key && pieces.some((p) => p.k === place.dataset.key))) {
        const gone = place;
        place = place.nextSibling;
        gone.remove();
      }
      if (node === place) place = place.nextSibling;
      else parent.insertBefore(node, place);
    }
    while (place) {
      const gone = place;
      place = place.nextSibling;
      gone.remove();
    }
  }

  // show draws a page. Whoever stood on something that is gone stands on the whole, not
  // at the beginning of everything.
  function show(pieces) {
    const focused = page.contains(document.activeElement) ? document.activeElement : null;
    patch(page, pieces);
    if (focused && document.activeElement !== focused) (focused.isConnected ? focused : page).focus({ preventScroll: true });
    const first = page.querySelector('h1')?.textContent ?? '';
    if (news.textContent !== first) news.textContent = first;
  }

  function say(title, text) {
    show([{ e: 'section', a: { class: 'part warning' }, c: [{ e: 'h1', c: [title] }, { e: 'p', c: [text] }] }]);
  }

  // within gives up waiting after a while.
  function within(promise) {
    return Promise.race([promise, new Promise((_, reject) => { setTimeout(() => reject(new Error('no answer in time')), patience); })]);
  }

  async function ask() {
    if (asking) return;
    asking = true;
    clearTimeout(timer);
    if (Date.now() - asked > old) tag = '';
    asked = Date.now();
    try {
      await look();
      failures = 0;
      shown = new Date();
      if (state.textContent) state.textContent = '';
    } catch {
      failures += 1;
      const text = shown ? `As of ${moment(shown)}, trying again` : 'Trying again';
      if (state.textContent !== text) state.textContent = text;
    }
    asking = false;
    if (document.visibilityState === 'visible') timer = setTimeout(ask, Math.min(pause * 2 ** failures, longest));
  }

  // look asks once. It throws when there was no answer that says anything.
  async function look() {
    let token;
    try {
      token = await within(authentication.getAuthToken());
    } catch (err) {
      if (shown) throw err;
      say('Teams did not tell who you are', `It says: ${err.message}. An administrator sets single sign-on up for mdebot's tab, as its README describes.`);
      throw err;
    }
    const headers = { Authorization: `Bearer ${token}` };
    if (tag) headers['If-None-Match'] = tag;
    const response = await fetch(address, { headers, cache: 'no-store', credentials: 'omit', redirect: 'error', signal: AbortSignal.timeout(patience) });
    if (response.status === 304) return;
    const body = await response.json();
    if (response.ok) {
      show(body.page);
      tag = response.headers.get('ETag') ?? '';
      return;
    }
    if (response.status !== 401 && response.status !== 403) throw new Error(body.title);
    // Who is not known any more does not keep what they saw.
    tag = '';
    say(body.title, body.text);
  }

  // hosts are those that may show this page beside Teams' own: nobody, unless only
  // browsers of this machine reach it, and then what shows it there.
  function hosts() {
    if (!('local' in document.documentElement.dataset)) return undefined;
    try {
      const from = new URL(document.referrer);
      return ['127.0.0.1', 'localhost'].includes(from.hostname) ? [from.origin] : undefined;
    } catch {
      return undefined;
    }
  }

  function theme(name) {
    document.documentElement.dataset.theme = name === 'glass' ? 'dark' : name;
  }

  async function start() {
    try {
      await within(app.initialize(hosts()));
      app.registerOnThemeChangeHandler(theme);
      theme((await within(app.getContext())).app.theme);
    } catch {
      say('This page belongs into Microsoft Teams', 'Open mdebot there, and in it the tab Requests.');
      return;
    }
    // A chat opens in Teams itself rather than in another window.
    page.addEventListener('click', (e) => {
      const link = e.target.closest('a[href*="/l/chat/"]');
      if (!link) return;
      e.preventDefault();
      app.openLink(link.href).catch(() => { window.open(link.href, '_blank', 'noopener,noreferrer'); });
    });
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') ask();
      else clearTimeout(timer);
    });
    ask();
  }

  start();
})();
