// What Teams is to a tab: the frame that shows it, and the other end of TeamsJS.

import { act } from './api.js';
import { el } from './dom.js';

const dark = matchMedia('(prefers-color-scheme: dark)');
const theme = () => (dark.matches ? 'dark' : 'default');

// teamsTab shows the app's tab for a person. openChat is called when the tab leads into
// the chat with the bot.
export function teamsTab(tab, person, openChat) {
  const frame = el('iframe', {
    class: 'tab-frame', src: tab.address, title: `mdebot: ${tab.name}`, 'data-testid': 'teams-tab-frame',
    // The real Teams sends its origin too; this page tells nobody else where it is.
    referrerpolicy: 'origin',
    sandbox: 'allow-scripts allow-same-origin allow-popups allow-popups-to-escape-sandbox allow-forms',
  });
  const send = (message) => frame.contentWindow?.postMessage(message, tab.origin);

  // Functions of TeamsJS that the host answers, by name: https://github.com/OfficeDev/microsoft-teams-library-js
  const functions = {
    // Where the tab is shown, what shows it, what that can do, and its version.
    initialize: () => ['content', 'web', JSON.stringify({ apiVersion: 4, isLegacyTeams: false, supports: {} }), '2.58.0'],
    getContext: () => [{ entityId: 'requests', frameContext: 'content', hostClientType: 'web', hostName: 'Teams', locale: 'en-us', theme: theme() }],
    'authentication.getAuthToken': () => act('teams/token', person, { origin: tab.origin }).then((got) => [true, got.token], (err) => [false, err.message]),
    executeDeepLink: (address) => {
      if (address.includes(tab.botChat)) openChat();
      else window.open(address, '_blank', 'noopener,noreferrer');
      return [true];
    },
  };
  const hear = async (e) => {
    if (!frame.isConnected) {
      removeEventListener('message', hear);
      dark.removeEventListener('change', retheme);
      return;
    }
    if (e.source !== frame.contentWindow || e.origin !== tab.origin || !Object.hasOwn(functions, e.data?.func)) return;
    const args = await functions[e.data.func](...(e.data.args ?? []));
    send({ id: e.data.id, uuidAsString: e.data.uuidAsString, args });
  };
  const retheme = () => send({ func: 'themeChange', args: [theme()] });
  addEventListener('message', hear);
  dark.addEventListener('change', retheme);
  return frame;
}
