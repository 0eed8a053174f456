// The Defender panel: what really happens, whatever the chat says.

import { act } from './api.js';
import { busy, el, menu, patch, time, toast } from './dom.js';

const states = {
  isolating: ['◐', 'Isolating'], isolated: ['●', 'Isolated'], releasing: ['◑', 'Releasing'],
};
const severities = { High: '▲', Medium: '◆', Low: '▽', Informational: '○' };
const ends = { Succeeded: '✓', Failed: '✗', TimeOut: '✗', Cancelled: '⊘' };
const changes = [
  { label: 'Assign to me', value: 'take' },
  { label: 'Raise to High', value: 'raise' },
  { label: 'Resolve', value: 'resolve' },
];

export class Defender {
  #dom = {};
  #person = '';
  #compose;
  #under = false; // the story is being played

  // compose puts a command where it can be sent.
  constructor(root, compose) {
    this.#compose = compose;
    const d = this.#dom;
    d.story = el('button', { type: 'button', class: 'button danger', 'data-testid': 'story' }, 'Play the attack story');
    d.story.addEventListener('click', () => busy(d.story, () => act(this.#under ? 'defender/stop' : 'defender/attack', this.#person)));
    d.attack = el('ol', { class: 'attack' });
    d.attackState = el('p', { class: 'attack-state', role: 'status' });
    d.machines = el('ul');
    d.actions = el('ul');
    d.alerts = el('ul');
    root.append(
      el('header', {}, el('h2', {}, 'Defender'), el('p', {}, 'What really happens')),
      el('div', { class: 'controls' },
        d.story,
        this.#button('Raise one alert', 'defender/alert', 'button')),
      el('section', { class: 'attack-section', hidden: true }, el('h3', {}, 'The story'), d.attackState, d.attack),
      el('section', {}, el('h3', {}, 'Cut off the network'), d.machines),
      el('section', {}, el('h3', {}, 'Machine actions'), d.actions),
      el('section', {}, el('h3', {}, 'Newest alerts'), d.alerts));
  }

  #button(label, path, className) {
    const button = el('button', { type: 'button', class: className }, label);
    button.addEventListener('click', () => busy(button, () => act(path, this.#person)));
    return button;
  }

  // update shows a new state.
  update(person, state) {
    this.#person = person;
    this.#showAttack(state.attack);
    fill(this.#dom.machines, state.machines, (m) => m.id, drawMachine, 'No machine is isolated.');
    fill(this.#dom.actions, state.actions, (a) => a.id, drawAction, 'Nothing was asked of Defender yet.');
    fill(this.#dom.alerts, state.alerts, (a) => a.id, (a) => this.#drawAlert(a), 'No alerts.');
  }

  // running counts the machine actions under way.
  running(state) {
    return (state.actions ?? []).filter((a) => !ends[a.status]).length;
  }

  #showAttack(attack) {
    const { attack: list, attackState, story } = this.#dom;
    list.parentElement.hidden = !attack;
    this.#under = Boolean(attack) && !attack.over;
    const label = this.#under ? 'Stop the story' : attack ? 'Play it again' : 'Play the attack story';
    if (story.textContent !== label) story.textContent = label;
    if (!attack) return;
    const steps = attack.steps ?? [];
    const latest = steps.length - 1;
    patch(list, steps.map((step, i) => ({ key: step.at, mark: `${i === latest} ${attack.contained}`, step, now: i === latest && !attack.contained })),
      (item) => this.#drawStep(item));
    const said = attack.contained ? '✓ Contained: the attacker cannot go on.'
      : attack.stopped ? `■ Stopped at step ${steps.length} of ${attack.of}.`
        : attack.over ? '✗ Over: nobody stopped it.' : `Step ${steps.length} of ${attack.of}: ${steps[latest]?.told}`;
    if (attackState.textContent !== said) attackState.textContent = said;
  }

  #drawStep({ step, now }) {
    return el('li', { 'aria-current': now ? 'step' : null },
      el('p', {}, el('strong', {}, step.name), ' ', el('span', { class: 'subtle' }, time(step.at))),
      el('p', { class: 'told' }, step.told),
      now && el('p', { class: 'next' }, `What to try: ${step.try} `,
        el('button', { type: 'button', class: 'try', onclick: () => this.#compose(step.command) }, `/mde ${step.command}`)));
  }

  #drawAlert(a) {
    return el('li', { class: 'alert-row' },
      el('p', { class: `severity ${a.severity.toLowerCase()}` }, `${severities[a.severity] ?? '○'} ${a.severity}`, el('span', { class: 'subtle' }, ` · ${a.status} · `, time(a.at))),
      el('p', {}, a.title),
      el('p', { class: 'subtle' }, shortName(a.machine)),
      menu('Change in the portal', changes,
        (option) => act('defender/edit', this.#person, { id: a.id, change: option.value }).catch((err) => toast(err.message)), { class: 'plain' }));
  }
}

function fill(list, entries, key, draw, nothing) {
  const items = (entries ?? []).map((e) => ({ key: key(e), mark: JSON.stringify(e), entry: e }));
  if (!items.length) items.push({ key: 'nothing', mark: nothing });
  patch(list, items, (item) => (item.entry ? draw(item.entry) : el('li', { class: 'subtle' }, nothing)));
}

function drawMachine(m) {
  const [sign, word] = states[m.state] ?? ['', m.state];
  return el('li', { class: `machine-row ${m.state}` },
    el('span', { class: 'sign', 'aria-hidden': 'true' }, sign), el('strong', {}, m.name), el('span', {}, word),
    el('span', { class: 'subtle' }, 'since ', time(m.since)));
}

function drawAction(a) {
  const end = ends[a.status];
  const steps = ['Pending', 'InProgress', end ? a.status : 'Succeeded'];
  const at = end ? 2 : steps.indexOf(a.status);
  return el('li', { class: `action-row ${a.status.toLowerCase()}` },
    el('p', {}, el('strong', {}, `${a.type} ${shortName(a.machine)}`), el('span', { class: 'subtle' }, ' ', time(a.asked))),
    el('ol', { class: 'course', 'aria-label': `Status: ${a.status}` }, steps.map((s, i) => el('li', {
      class: i < at || (end && i === at) ? 'past' : i === at ? 'now' : 'ahead', 'aria-current': i === at ? 'step' : null,
    }, i === 2 && end ? `${end} ${s}` : s))),
    el('p', { class: 'comment' }, a.comment));
}

function shortName(name) {
  return (name ?? '').split('.')[0];
}
