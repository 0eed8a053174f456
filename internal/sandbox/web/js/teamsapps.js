// What stands behind Apps at the Teams composer: the search of the app, whose results
// are put into the message that somebody writes.

import { act } from './api.js';
import { el, nextID, search } from './dom.js';
import { drawAttached } from './teams.js';

// teamsApps is the button and the panel that it opens. where() says who writes and where;
// attach is called with what they choose, {label, detail, card}, and draw draws its card.
export function teamsApps(where, attach) {
  const panel = el('div', { class: 'apps-panel', role: 'dialog', 'aria-label': 'mdebot: Look up a machine', id: nextID('apps'), tabindex: '-1', hidden: true });
  const button = el('button', {
    type: 'button', class: 'plain apps-button', 'data-testid': 'teams-apps', 'aria-label': 'Apps, mdebot: Look up a machine',
    'aria-haspopup': 'dialog', 'aria-expanded': 'false', 'aria-controls': panel.id,
  }, 'Apps');
  const close = () => {
    panel.hidden = true;
    panel.replaceChildren();
    button.setAttribute('aria-expanded', 'false');
  };
  const leave = () => {
    close();
    button.focus();
  };
  const open = () => {
    const { person, conversation } = where();
    const load = async (text) => {
      try {
        const { results, note } = await act('teams/query', person, { conversation, text });
        return note || results.map((r) => ({ ...r, value: JSON.stringify(r.card) }));
      } catch (err) {
        return err.message;
      }
    };
    const field = search({ 'aria-label': 'Machine', placeholder: 'Name, ID or IP address', maxlength: '200', 'data-testid': 'teams-apps-search' }, load, {
      picked: (found) => {
        close();
        attach(found);
      },
    });
    panel.replaceChildren(
      el('header', {}, el('strong', {}, 'Look up a machine'), el('span', { class: 'subtle' }, 'mdebot'),
        el('button', { type: 'button', class: 'plain', 'aria-label': 'Close', onclick: leave }, '×')),
      field);
    panel.hidden = false;
    button.setAttribute('aria-expanded', 'true');
    field.querySelector('input').focus();
    field.suggest(); // Teams asks for the first run
  };
  button.addEventListener('click', () => (panel.hidden ? open() : close()));
  panel.addEventListener('keydown', (e) => {
    if (e.key !== 'Escape') return;
    e.preventDefault();
    e.stopPropagation();
    leave();
  }, true); // before the search, which would close its list alone
  panel.addEventListener('focusout', (e) => {
    const to = e.relatedTarget;
    if (to && to !== button && !panel.contains(to)) close();
  });
  return { button, panel: el('div', { class: 'apps' }, panel), close, draw: drawAttached };
}
