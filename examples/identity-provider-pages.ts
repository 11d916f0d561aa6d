import type { Accent, Person } from './identity-provider.ts'

/** The design differs from the portal's, so that a newcomer notices that they have left it. */
export interface Pages {
  signIn(people: Person[], action: string, continueTo: string): string
  signOut(form: string): string
  signedOut(): string
  problem(sentence: string): string
  home(issuer: string): string
  css: string
}

export function createPages(provider: string, accent: Accent): Pages {
  const page = (title: string, body: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} – ${escapeHtml(provider)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header><span class="mark" aria-hidden="true">${escapeHtml(initials(provider).slice(0, 1))}</span>${escapeHtml(provider)}</header>
<main>
${body}
</main>
<footer>For trying things out: accounts here have no password.</footer>
</body>
</html>
`

  return {
    css: stylesheet(accent),

    signIn: (people, action, continueTo) =>
      page(
        'Sign in',
        `<h1>Choose who you are</h1>
<p>to continue to <strong>${escapeHtml(continueTo)}</strong></p>
<ul>
${people.map((person) => personButton(person, action)).join('\n')}
</ul>
<form method="post" action="${escapeHtml(action)}"><button class="quiet" name="cancel" value="yes">Cancel and go back</button></form>`,
      ),

    // `form` is oidc-provider's own markup; the buttons join it by its id.
    signOut: (form) =>
      page(
        'Sign out',
        `<h1>Sign out of ${escapeHtml(provider)}?</h1>
<p>Staying signed in here means that your next sign-in asks no questions.</p>
${form}
<button class="loud" form="op.logoutForm" name="logout" value="yes">Yes, sign out</button>
<button class="quiet" form="op.logoutForm">No, stay signed in</button>`,
      ),

    signedOut: () => page('Signed out', '<h1>You are signed out</h1>\n<p>You can close this page now.</p>'),

    problem: (sentence) =>
      page(
        'Something went wrong',
        `<h1>That did not work</h1>
<p role="alert">${escapeHtml(sentence)}</p>
<p>Go back to the page you came from and start again.</p>`,
      ),

    home: (issuer) =>
      page(
        'Identity provider',
        `<h1>Nothing to do here</h1>
<p>Sign-ins start at the portal. Programs find this provider under</p>
<p><a href="/.well-known/openid-configuration"><code>${escapeHtml(issuer)}</code></a></p>`,
      ),
  }
}

function personButton(person: Person, action: string): string {
  return `<li><form method="post" action="${escapeHtml(action)}">
<button class="person" name="person" value="${escapeHtml(person.id)}">
<span class="face" aria-hidden="true">${escapeHtml(initials(person.name))}</span>
<span class="who"><strong>${escapeHtml(person.name)}</strong> <span>${escapeHtml(person.email ?? 'no e-mail address')}</span></span>
<span class="hint">${escapeHtml(person.hint)}</span>
</button></form></li>`
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

function initials(name: string): string {
  const words = name.split(/\s+/).filter(Boolean)
  return [words[0], words.length > 1 ? words.at(-1) : undefined]
    .map((word) => [...(word ?? '')][0] ?? '')
    .join('')
    .toUpperCase()
}

const accents: Record<Accent, { light: string; dark: string }> = {
  pine: { light: '#0b6650', dark: '#6fd3b3' },
  plum: { light: '#8a2a6b', dark: '#f0a3d3' },
  rust: { light: '#a03c0c', dark: '#ffb38a' },
}

const stylesheet = (accent: Accent) => `
:root { color-scheme: light dark; --accent: ${accents[accent].light}; --on-accent: #fff; --wash: color-mix(in srgb, var(--accent) 12%, #fff);
  --sheet: #fff; --ink: #1c1b1a; --soft: #5a5754; --line: #d9d4cd; }
@media (prefers-color-scheme: dark) {
  :root { --accent: ${accents[accent].dark}; --on-accent: #1a1817; --wash: color-mix(in srgb, var(--accent) 9%, #131211);
    --sheet: #1f1d1c; --ink: #f3efe9; --soft: #b8b1a8; --line: #45403b; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; align-items: center; padding: 3rem 1rem 2rem;
  background: var(--wash); color: var(--ink); font: 1rem/1.5 Georgia, 'Times New Roman', serif; overflow-wrap: anywhere; }
header { width: 100%; max-width: 34rem; display: flex; align-items: center; gap: .75rem; padding: 0 .25rem 1.25rem;
  font-size: 1.25rem; font-weight: bold; }
.mark { flex: none; width: 2.5rem; height: 2.5rem; display: grid; place-items: center; background: var(--accent); color: var(--on-accent);
  border-radius: 50% 50% 50% .3rem; }
main { width: 100%; max-width: 34rem; padding: 2rem; background: var(--sheet); border-top: .3rem solid var(--accent);
  box-shadow: 0 1px 3px rgb(0 0 0 / .18); }
h1 { margin: 0 0 .25rem; font-size: 1.7rem; line-height: 1.25; font-weight: normal; }
p { margin: 0 0 1.25rem; color: var(--soft); }
a { color: var(--accent); }
ul { list-style: none; margin: 0 0 1.25rem; padding: 0; border-bottom: 1px solid var(--line); }
li { border-top: 1px solid var(--line); }
button { font: inherit; color: inherit; cursor: pointer; border: 0; background: none; min-height: 2.75rem; }
button:focus-visible, a:focus-visible { outline: .2rem solid var(--accent); outline-offset: -.1rem; }
.person { width: 100%; display: flex; align-items: center; gap: .5rem 1rem; padding: 1rem .5rem; text-align: left; }
.person:hover { background: var(--wash); }
.face { flex: none; width: 2.75rem; height: 2.75rem; display: grid; place-items: center; border: 2px solid var(--accent); color: var(--accent);
  border-radius: 50%; font-size: .95rem; }
.who { flex: 1; min-width: 0; }
.who strong { font-size: 1.1rem; }
.who span { display: block; color: var(--soft); font-size: .95rem; }
.hint { max-width: 10rem; color: var(--accent); font-style: italic; font-size: .95rem; text-align: right; }
.loud { padding: 0 1.5rem; background: var(--accent); color: var(--on-accent); font-weight: bold; }
.loud:focus-visible { outline-offset: .15rem; }
.quiet { padding: 0 .5rem; color: var(--accent); text-decoration: underline; }
footer { max-width: 34rem; padding: 1.25rem .25rem 0; color: var(--soft); font-size: .9rem; }
@media (max-width: 30rem) {
  body { padding-top: 1.5rem; }
  main { padding: 1.5rem 1rem; }
  .person { flex-wrap: wrap; }
  .who { flex-basis: calc(100% - 4rem); }
  .hint { max-width: none; margin-left: 3.75rem; text-align: left; }
}
`
