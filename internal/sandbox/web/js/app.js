// The page: who you are, what you see, and what to try.

import { act, state, watch } from './api.js';
import { Column } from './column.js';
import { Defender } from './defender.js';
import { el, toast } from './dom.js';
import { drawSlackHome, drawSlackMessage, SlackModal, slackPreview, slackShortcut } from './slack.js';
import { teamsApps } from './teamsapps.js';
import { drawTeamsMessage } from './teams.js';
import { teamsTab } from './teamstab.js';

// Where the security team works.
const soc = { slack: 'C0SOC', teams: '19:soc@thread.tacv2' };
const approvals = { teams: '19:approvals@thread.tacv2' };

const byID = (id) => document.getElementById(id);

const slack = new Column(byID('slack'), {
  platform: 'slack',
  title: 'Slack',
  sign: '# ',
  home: soc.slack,
  headings: ['Channels', 'Apps'],
  draw: drawSlackMessage,
  preview: slackPreview,
  more: slackShortcut,
  page: { tabs: [['home', 'Home'], ['messages', 'Messages']], draw: drawSlackHome, open: (person) => act('slack/home', person) },
  hint: (c) => (c.direct ? 'Message mdebot, such as: help' : `Message #${c.name}, such as: /mde help`),
});
const teams = new Column(byID('teams'), {
  platform: 'teams',
  title: 'Teams',
  sign: '',
  home: soc.teams,
  headings: ['Contoso SOC', 'Chat'],
  draw: drawTeamsMessage,
  preview: (m) => (m.summary || m.text || '').slice(0, 200),
  page: { tabs: [['messages', 'Chat'], ['home', 'Requests']], draw: (tab, ctx) => teamsTab(tab, ctx.person, () => teams.openChat()), fleeting: true },
  // Clients ask for their view of a card by themselves, and nobody is told when there is none.
  opened: (person, c) => act('teams/show', person, { conversation: c.id }).catch(() => {}),
  hint: (c) => (c.direct ? 'Message mdebot, such as: help' : 'Start a post, such as: @mdebot help'),
  apps: teamsApps,
});
const modal = new SlackModal();
const defender = new Defender(byID('defender'), (command) => { openTab('slack'); slack.compose(soc.slack, `/mde ${command}`); });
const who = byID('person');

// refresh reads the state and shows it. Changes that come while it reads are
// read right after, all at once.
let reading = false;
let again = false;
async function refresh() {
  again = true;
  if (reading) return;
  reading = true;
  while (again) {
    again = false;
    try {
      show(await state(who.value || remembered('person') || 'riley'));
    } catch (err) {
      toast(err.message);
    }
  }
  reading = false;
}

function show(s) {
  if (!who.options.length) {
    who.append(...s.people.map((p) => el('option', { value: p.key, selected: p.key === s.person }, `${p.name}, ${p.part}`)));
    who.parentElement.hidden = false;
  }
  if (s.person !== who.value) {
    again = true; // switched while it was read
    return;
  }
  document.body.dataset.person = s.person;
  const names = s.people.map((p) => p.name).concat('mdebot');
  const lines = [
    ...slack.update(s.person, { conversations: s.slack.conversations, names: s.slack.names, page: s.slack.home }),
    ...teams.update(s.person, { conversations: s.teams.conversations, names, page: s.teams.tab && { ...s.teams.tab, hash: s.teams.tab.address } }),
  ];
  modal.update(s.slack.modal, { person: s.person, names: s.slack.names });
  defender.update(s.person, s.defender);
  announce(lines);
  badge('slack', slack.unread());
  badge('teams', teams.unread());
  badge('defender', defender.running(s.defender));
}

function announce(lines) {
  const live = byID('live');
  live.append(...lines.map((line) => el('p', {}, line)));
  while (live.children.length > 20) live.firstElementChild.remove();
}

function badge(tab, count) {
  const mark = document.querySelector(`.tabs [data-tab=${tab}] .badge`);
  mark.hidden = !count;
  mark.textContent = count;
}

function remembered(key) {
  return sessionStorage.getItem(key);
}

// become switches the person.
function become(person) {
  who.value = person;
  if (document.body.dataset.person !== person) {
    // What stands there is another person's, and so would be a click on it.
    delete document.body.dataset.person;
    slack.pause();
    teams.pause();
  }
  sessionStorage.setItem('person', person);
  refresh();
}

// openTab chooses what a narrow screen shows.
function openTab(tab) {
  document.body.dataset.tab = tab;
  for (const button of document.querySelectorAll('.tabs button')) button.setAttribute('aria-current', String(button.dataset.tab === tab));
  if (tab === 'slack') slack.shown();
  if (tab === 'teams') teams.shown();
}

function toggleDefender() {
  const open = document.body.toggleAttribute('data-defender');
  byID('defender-toggle').setAttribute('aria-expanded', String(open));
}

const steps = [
  ['As Riley, ask about a machine in Slack', '/mde machine ws-042', () => { openTab('slack'); become('riley'); slack.compose(soc.slack, '/mde machine ws-042'); }],
  ['Ask to cut it off the network; of the two records choose the active one', '/mde isolate ws-042 beaconing to a known C2', () => { openTab('slack'); become('riley'); slack.compose(soc.slack, '/mde isolate ws-042 beaconing to a known C2'); }],
  ['Be Avery and approve in Teams, then watch Defender', 'Be Avery', () => { openTab('teams'); become('avery'); teams.open(approvals.teams); }],
  ['Let alerts arrive', 'Play the attack story', () => { openTab('defender'); if (!document.body.hasAttribute('data-defender')) toggleDefender(); const story = byID('defender').querySelector('[data-testid=story]'); story.focus(); if (story.textContent !== 'Stop the story') story.click(); }],
];

function showSteps() {
  byID('hint-steps').append(...steps.map(([what, label, go]) => el('li', {}, `${what} `, el('button', { type: 'button', class: 'try', onclick: go }, label))));
  const hint = byID('hint');
  hint.open = !matchMedia('(max-width: 759px)').matches && localStorage.getItem('hint') !== 'closed';
  hint.addEventListener('toggle', () => localStorage.setItem('hint', hint.open ? 'open' : 'closed'));
}

showSteps();
openTab('slack');
who.addEventListener('change', () => become(who.value));
byID('defender-toggle').addEventListener('click', toggleDefender);
for (const button of document.querySelectorAll('.tabs button')) button.addEventListener('click', () => openTab(button.dataset.tab));
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
watch(refresh, (connected) => {
  byID('connection').textContent = connected ? '' : 'The demo has stopped. The page goes on when it is back.';
});
