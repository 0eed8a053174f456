// The demo's endpoints; page.go describes them.

// state reads everything that a person sees.
export function state(person) {
  return answer(fetch(address('/api/state', { person })));
}

// act sends what a person does, such as act('slack/click', 'riley', {…}). It
// resolves once the bot has answered the platform, and rejects with an Error
// whose message is a sentence for people.
export function act(path, person, fields = {}) {
  return answer(fetch(address(`/api/${path}`, { person }), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(fields),
  }));
}

// payload reads what the bot sent for a message.
export function payload(platform, person, conversation, message) {
  return answer(fetch(address(`/api/${platform}/payload`, { person, conversation, message })));
}

// fileAddress is where a file can be downloaded.
export function fileAddress(platform, person, conversation, file) {
  return address(`/api/${platform}/file`, { person, conversation, file });
}

// watch calls changed whenever something has changed, and connected with whether
// the demo is still there.
export function watch(changed, connected) {
  const events = new EventSource('/api/events');
  events.onmessage = changed;
  events.onopen = () => connected(true);
  events.onerror = () => connected(false);
}

function address(path, query) {
  return `${path}?${new URLSearchParams(query)}`;
}

async function answer(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Error('The demo does not answer. Is it still running?');
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(body?.error || `The demo answered ${response.status}.`);
  }
  return body;
}
