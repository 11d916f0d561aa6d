/** The example portal's own pages, too small to need a template engine. */
import type { Mail } from './mailbox.ts'

/** Browsers request `/favicon.ico` for every page that names no icon. */
export const icon =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#2450c8"/><path d="M8 9h16v11H8zM5 22h22v2H5z" fill="#fff"/></svg>'

export function homePage(user: Express.User | undefined): string {
  return page(
    'Welcome',
    `<h1>What you need to work</h1>
<p>Laptops, phones and chairs for everyone who works here.</p>
${
  user
    ? `<p><a class="button" href="/portal">Open the portal</a></p>`
    : `<p><a class="button" href="/portal">Sign in</a></p>
<p class="small">Single sign-on has replaced the <a href="/classic-login">classic login</a>: try it and see.</p>`
}`,
    user,
  )
}

export function isAda(user: Express.User | undefined): boolean {
  return (user as { email?: string } | undefined)?.email === 'ada@example.com'
}

export function portalPage(user: Express.User | undefined, path: string): string {
  const { name, email } = user as unknown as { name: string; email: string }
  return page(
    'My equipment',
    `<h1>My equipment</h1>
<p>Signed in as <strong>${escaped(name)}</strong> (${escaped(email)}).</p>
<table>
<tr><th>Item</th><th>Since</th><th>State</th></tr>
<tr><td>Notebook 14″</td><td>March 2026</td><td>in use</td></tr>
<tr><td>Headset</td><td>May 2026</td><td>in use</td></tr>
<tr><td>Standing desk</td><td>November 2026</td><td>requested</td></tr>
</table>
<p class="small">This page is <code>${escaped(path)}</code>. Sign out and open
<a href="/portal/requests?state=open">a deep link</a>: signing in leads back to it.</p>
<p class="small"><a href="/portal/delivery">Your delivery address</a> asks you to sign in again, unless you signed in within the last
minute. Manage your sign-in methods and sessions on <a href="/account/security">your account page</a>.</p>
${isAda(user) ? '<p class="small">You administer this portal: <a href="/admin/sso">connect providers</a>.</p>' : ''}`,
    user,
  )
}

export function deliveryPage(user: Express.User | undefined): string {
  const { name } = user as unknown as { name: string }
  return page(
    'Delivery address',
    `<h1>Delivery address</h1>
<p>${escaped(name)}, 12 St James’s Square, London</p>
<p class="small">Another person at this unlocked browser cannot open this page: <code>sso.guard({ maxAge: '1m' })</code> protects it.
Come back in two minutes, and your identity provider asks you to sign in again. <a href="/portal">Back to the portal</a></p>`,
    user,
  )
}

export function mailboxPage(mails: readonly Mail[], user: Express.User | undefined): string {
  return page(
    'Mailbox',
    `<h1>Mailbox</h1>
<p>What the portal has sent. It stays on this machine.</p>
${mails.map((mail) => `<article><h2>${escaped(mail.subject)}</h2>\n<p class="small">To ${escaped(mail.to)}</p>\n<pre>${escaped(mail.text)}</pre></article>`).join('\n') || '<p class="small">Nothing yet.</p>'}`,
    user,
  )
}

export function classicLoginPage(problem?: string): string {
  return page(
    'Classic login',
    `<h1>Classic login</h1>
${problem ? `<p role="alert">${escaped(problem)}</p>` : ''}
<form method="post" action="/password-login">
<p><label>E-mail<br><input name="email" type="email" value="ada@example.com" autocomplete="username"></label></p>
<p><label>Password<br><input name="password" type="password" autocomplete="current-password"></label></p>
<p><button class="button">Log in</button></p>
</form>
<p class="small">The password is <code>portal</code>. It does not work while a provider is enabled.</p>`,
  )
}

function page(title: string, body: string, user?: Express.User): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)} – Equipment Portal</title>
<style>
:root { color-scheme: light dark; --accent: #2450c8; --line: light-dark(#dcdfe4, #31363d); --muted: light-dark(#596069, #a5abb4) }
* { box-sizing: border-box }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; background: light-dark(#f5f6f8, #0f1114); color: light-dark(#16181d, #eceef1) }
header { background: light-dark(#fff, #181b1f); border-bottom: 1px solid var(--line) }
header div { max-width: 52rem; margin: auto; padding: .75rem 1.5rem; display: flex; gap: 1rem; align-items: center; justify-content: space-between }
header a { font-weight: 600; color: inherit; text-decoration: none }
main { max-width: 52rem; margin: auto; padding: 2rem 1.5rem }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25 }
a { color: light-dark(#2450c8, #9db7ff) }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0; background: light-dark(#fff, #181b1f); border: 1px solid var(--line) }
th, td { text-align: start; padding: .7rem 1rem; border-bottom: 1px solid var(--line) }
th { font-size: .875rem; color: var(--muted) }
article { margin: 1.5rem 0; padding: 1rem; background: light-dark(#fff, #181b1f); border: 1px solid var(--line) }
h2 { margin: 0; font-size: 1.125rem }
pre { margin: 1rem 0 0; font: inherit; white-space: pre-wrap; overflow-wrap: anywhere }
input { font: inherit; padding: .6rem .75rem; width: 100%; max-width: 22rem; border: 1px solid light-dark(#858c96, #7a818c); border-radius: 10px; background: light-dark(#fff, #181b1f); color: inherit }
.button { font: inherit; display: inline-block; padding: .6rem 1.2rem; border: 1px solid var(--accent); border-radius: 10px; background: var(--accent); color: #fff; text-decoration: none; cursor: pointer }
.quiet { background: none; border-color: light-dark(#858c96, #7a818c); color: inherit }
@media (max-width: 30rem) { main, header div { padding-inline: 1rem } th, td { padding-inline: .5rem; hyphens: auto } }
.small { font-size: .875rem; color: var(--muted) }
code { overflow-wrap: anywhere }
</style>
</head>
<body>
<header><div><a href="/">Equipment Portal</a>${
    user ? '<form method="post" action="/logout"><button class="button quiet">Sign out</button></form>' : ''
  }</div></header>
<main>${body}</main>
</body>
</html>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
