// Slack's text: mrkdwn of old, and the elements of rich_text.

import { el, link } from './dom.js';

// mrkdwn draws text in Slack's markup. names are people and groups by ID.
export function mrkdwn(text, names) {
  const out = document.createDocumentFragment();
  for (const [i, part] of (text ?? '').split('```').entries()) {
    if (i % 2) out.append(el('pre', {}, plain(part)));
    else out.append(...spans(part, names));
  }
  return out;
}

// plain undoes the three escapes that Slack uses.
export function plain(text) {
  return (text ?? '').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
}

const styles = { '*': 'strong', _: 'em', '~': 's', '`': 'code' };
const markup = /<([^<>\n]+)>|(?<![\p{L}\p{N}])([*_~`])(?=\S)((?:(?!\2)[^\n])*\S)\2(?![\p{L}\p{N}])/gu;

function spans(text, names) {
  const out = [];
  let from = 0;
  for (const found of text.matchAll(markup)) {
    out.push(plain(text.slice(from, found.index)));
    from = found.index + found[0].length;
    const [, token, mark, inner] = found;
    if (token) out.push(special(token, names));
    else out.push(el(styles[mark], {}, mark === '`' ? plain(inner) : spans(inner, names)));
  }
  out.push(plain(text.slice(from)));
  return out;
}

// special draws what stands between < and >.
function special(token, names) {
  const [target, label] = splitOnce(token, '|');
  if (target.startsWith('@')) return mention(names[target.slice(1)] ?? label ?? target.slice(1));
  if (target.startsWith('!subteam^')) return mention(names[target.slice(9)] ?? label ?? 'group');
  if (target.startsWith('!date^')) {
    const [, seconds, format] = target.split('^');
    return date(Number(seconds), format, label);
  }
  if (target.startsWith('!')) return mention(target.slice(1));
  if (target.startsWith('#')) return el('span', { class: 'mention' }, `#${label ?? target.slice(1)}`);
  return link(plain(target), plain(label ?? target));
}

function splitOnce(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

export function mention(name) {
  return el('span', { class: 'mention' }, `@${name}`);
}

const day = 86_400_000;

// date draws a moment in the reader's time zone, in Slack's format.
export function date(seconds, format, fallback) {
  const at = new Date(seconds * 1000);
  if (Number.isNaN(at.getTime())) return el('span', {}, fallback ?? '');
  const calendar = (options, pretty) => {
    const days = Math.round((new Date(at).setHours(0, 0, 0, 0) - new Date().setHours(0, 0, 0, 0)) / day);
    const near = { '-1': 'yesterday', 0: 'today', 1: 'tomorrow' }[days];
    return pretty && near ? near : at.toLocaleDateString([], options);
  };
  const short = { month: 'short', day: 'numeric', year: 'numeric' };
  const long = { weekday: 'long', month: 'long', day: 'numeric', year: 'numeric' };
  const tokens = {
    date_num: () => calendar({}),
    date: () => calendar({ month: 'long', day: 'numeric', year: 'numeric' }),
    date_pretty: () => calendar({ month: 'long', day: 'numeric', year: 'numeric' }, true),
    date_short: () => calendar(short),
    date_short_pretty: () => calendar(short, true),
    date_long: () => calendar(long),
    date_long_pretty: () => calendar(long, true),
    time: () => at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }),
    time_secs: () => at.toLocaleTimeString(),
  };
  const shown = (format ?? '{date_short} {time}').replace(/\{(\w+)\}/g, (whole, name) => tokens[name]?.() ?? whole);
  return el('time', { datetime: at.toISOString(), title: at.toLocaleString() }, shown);
}

// richText draws a rich_text block.
export function richText(block, names) {
  return el('div', { class: 'rich-text' }, (block.elements ?? []).map((e) => richElement(e, names)));
}

function richElement(element, names) {
  const children = () => (element.elements ?? []).map((e) => inline(e, names));
  switch (element.type) {
    case 'rich_text_section':
      return el('p', {}, children());
    case 'rich_text_preformatted':
      return el('pre', {}, children());
    case 'rich_text_quote':
      return el('blockquote', {}, children());
    case 'rich_text_list': {
      const list = el(element.style === 'ordered' ? 'ol' : 'ul', {},
        (element.elements ?? []).map((e) => el('li', {}, richElement(e, names))));
      list.style.marginInlineStart = `${(element.indent ?? 0) * 1.5}em`;
      return list;
    }
  }
  return unknown(element);
}

function inline(element, names) {
  switch (element.type) {
    case 'text':
      return styled(element.text, element.style);
    case 'link':
      return styled(link(element.url, element.text ?? element.url), element.style);
    case 'user':
      return mention(names[element.user_id] ?? element.user_id);
    case 'usergroup':
      return mention(names[element.usergroup_id] ?? element.usergroup_id);
    case 'channel':
      return el('span', { class: 'mention' }, `#${element.channel_id}`);
    case 'broadcast':
      return mention(element.range);
    case 'emoji':
      return element.unicode ? String.fromCodePoint(...element.unicode.split('-').map((c) => parseInt(c, 16))) : `:${element.name}:`;
    case 'date':
      return date(element.timestamp, element.format, element.fallback);
    case 'color':
      return el('code', {}, element.value);
  }
  return unknown(element);
}

function styled(content, style = {}) {
  for (const [name, tag] of [['code', 'code'], ['bold', 'strong'], ['italic', 'em'], ['strike', 's']]) {
    if (style[name]) content = el(tag, {}, content);
  }
  return content;
}

// unknown says that the page cannot draw something, so that nothing goes missing
// without a word.
export function unknown(element) {
  return el('span', { class: 'unknown' }, `[cannot draw ${element?.type}]`);
}
