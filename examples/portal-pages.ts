/** The example portal's own pages, so small that a template engine would be in the way. */

export function homePage(user: Express.User | undefined): string {
  return page(
    'Equipment Portal',
    `<h1>Equipment Portal</h1>
<p>Laptops, phones and chairs for everybody who works here.</p>
${
  user
    ? `<p><a class="button" href="/portal">Open the portal</a></p>`
    : `<p><a class="button" href="/portal">Sign in</a></p>
<p class="small">Single sign-on has replaced the <a href="/classic-login">classic login</a>: try it and see.</p>`
}`,
  )
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
<p class="small">This page is <code>${escaped(path)}</code>; <a href="/portal/requests?state=open">another one</a> to try deep links with.</p>
<form method="post" action="/logout"><button class="button quiet">Sign out</button></form>`,
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
<p class="small">The password is <code>portal</code>. While a provider is enabled it does not help.</p>`,
  )
}

function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1.5rem; background: Canvas; color: CanvasText }
a { color: light-dark(#1f5fd6, #8ab0ff) }
table { border-collapse: collapse; width: 100% }
th, td { text-align: start; padding: .5rem .75rem .5rem 0; border-bottom: 1px solid #8885 }
input { font: inherit; padding: .5rem .75rem; width: 100%; box-sizing: border-box }
.button { font: inherit; display: inline-block; padding: .6rem 1.2rem; border: 0; border-radius: .5rem; background: #1f5fd6; color: #fff; text-decoration: none; cursor: pointer }
.quiet { background: #8883; color: inherit }
.small { font-size: .875rem; color: light-dark(#555, #bbb) }
</style>
</head>
<body><main>${body}</main></body>
</html>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
