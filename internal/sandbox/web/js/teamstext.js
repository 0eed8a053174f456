// The Markdown that Teams draws in cards and messages, and its date macros.

import { el, link } from './dom.js';

const entities = { '&lt;': '<', '&gt;': '>', '&amp;': '&', '&quot;': '"', '&#39;': "'", '&nbsp;': ' ' };
const macro = /\{\{(DATE|TIME)\(([^,)]+)(?:,\s*(\w+))?\)\}\}/g;
const markup = /\\([\\`*_[\](){}#+\-.!<>|~])|<at>(.*?)<\/at>|\*\*(.+?)\*\*|__(.+?)__|(?<![\p{L}\p{N}*_])[*_](\S(?:.*?\S)?)[*_](?![\p{L}\p{N}*_])|\[((?:\\.|[^\]\\])*)\]\(([^()\s]*)\)|(&(?:lt|gt|amp|quot|nbsp|#39);)/gu;

// markdown draws text line by line; lines that begin with "- " are a list.
export function markdown(text) {
  const out = document.createDocumentFragment();
  let list = null;
  for (const line of (text ?? '').split('\n')) {
    const item = /^\s*[-*]\s+(.*)$/.exec(line);
    if (item) {
      if (!list) out.append(list = el('ul'));
      list.append(el('li', {}, spans(item[1])));
      continue;
    }
    list = null;
    out.append(el('span', { class: 'line' }, spans(line)));
  }
  return out;
}

function spans(text) {
  const out = [];
  let from = 0;
  const dated = dates(text);
  for (const found of dated.matchAll(markup)) {
    out.push(dated.slice(from, found.index));
    from = found.index + found[0].length;
    const [, escaped, name, bold, bold2, italic, label, address, entity] = found;
    if (escaped !== undefined) out.push(escaped);
    else if (name !== undefined) out.push(el('span', { class: 'mention' }, decode(name)));
    else if (bold ?? bold2) out.push(el('strong', {}, spans(bold ?? bold2)));
    else if (italic !== undefined) out.push(el('em', {}, spans(italic)));
    else if (label !== undefined) out.push(link(decode(address), spans(label)));
    else out.push(entities[entity]);
  }
  out.push(dated.slice(from));
  return out;
}

function decode(text) {
  return text.replace(/&(?:lt|gt|amp|quot|nbsp|#39);/g, (e) => entities[e]);
}

// dates puts moments into the reader's time zone.
export function dates(text) {
  return text.replace(macro, (whole, kind, moment, style) => {
    const at = new Date(moment);
    if (Number.isNaN(at.getTime())) return whole;
    if (kind === 'TIME') return at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    const options = { SHORT: { weekday: 'short', month: 'short', day: 'numeric', year: 'numeric' }, LONG: { weekday: 'long', month: 'long', day: 'numeric', year: 'numeric' } };
    return at.toLocaleDateString([], options[style] ?? {});
  });
}
