// Conveniences. Every page works without them.
{
  const { lang } = document.documentElement

  // Times in the reader's time zone; recent ones relative, such as "5 minutes ago".
  const digits = { numberingSystem: 'latn' }
  const full = new Intl.DateTimeFormat(lang, { ...digits, dateStyle: 'medium', timeStyle: 'short' })
  const relative = new Intl.RelativeTimeFormat(lang, { ...digits, numeric: 'auto' })
  const units = [
    ['day', 86_400],
    ['hour', 3600],
    ['minute', 60],
  ]
  for (const time of document.querySelectorAll('time[data-local], time[data-relative]')) {
    const at = new Date(time.dateTime)
    const ago = Math.round((at - Date.now()) / 1000)
    // "now" for less than a minute
    const seconds = Math.abs(ago) < 60 ? 0 : ago
    const [unit, length] = units.find(([, each]) => Math.abs(seconds) >= each) ?? ['second', 1]
    const isRecent = 'relative' in time.dataset && Math.abs(seconds) < 7 * 86_400
    time.textContent = isRecent ? relative.format(Math.round(seconds / length), unit) : full.format(at)
    if (isRecent) time.title = full.format(at)
  }

  // Only browsers with a secure connection have a clipboard. Elsewhere the text is selected by hand.
  for (const field of navigator.clipboard ? document.querySelectorAll('[data-copy]') : []) {
    const { copy, copyLabel, copied } = field.dataset
    const button = document.createElement('button')
    const status = document.createElement('span')
    button.type = 'button'
    button.className = field.matches('details') ? 'sso-button' : 'sso-button sso-button-small'
    button.textContent = copyLabel
    status.className = 'sso-copied'
    status.setAttribute('role', 'status')
    button.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(copy)
        status.textContent = copied
        setTimeout(() => status.replaceChildren(), 4000)
      } catch {
        if ('open' in field) field.open = true
        getSelection().selectAllChildren(field.querySelector('textarea, code') ?? field)
      }
    })
    const bar = document.createElement('div')
    bar.className = 'sso-copy'
    bar.append(button, status)
    field.after(bar)
  }

  // A second click sends nothing. After five seconds the form works again, for users who have stopped the first request.
  const sent = new Map()
  const release = () => {
    for (const button of sent.values()) button?.removeAttribute('aria-busy')
    sent.clear()
  }
  document.addEventListener('submit', (event) => {
    const { submitter, target } = event
    if (sent.has(target)) return event.preventDefault()
    sent.set(target, submitter)
    submitter?.setAttribute('aria-busy', 'true')
    setTimeout(release, 5000)
  })
  // The browser shows the page again after "Back".
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted) release()
  })

  // Typing replaces a wrong code.
  document.querySelector('.sso-input-code[aria-invalid]')?.select()

  // The button waits as the server does.
  for (const wait of document.querySelectorAll('[data-wait]')) {
    const button = wait.closest('form').querySelector('button')
    const until = Date.now() + wait.dataset.wait * 1000
    const tick = () => {
      const left = Math.max(Math.ceil((until - Date.now()) / 1000), 0)
      button.disabled = left > 0
      wait.hidden = left === 0
      wait.textContent = wait.dataset.template.replace('{time}', `0:${String(left).padStart(2, '0')}`)
      if (left > 0) setTimeout(tick, 1000)
    }
    tick()
  }

  // Chrome deletes the input of an uncached page when it is reloaded. It is kept in this tab, for this registration only.
  const draft = document.querySelector('form[data-draft]')
  const key = 'sso-draft'
  const kept = JSON.parse(sessionStorage.getItem(key))
  sessionStorage.removeItem(key)
  if (draft) {
    const { type } = performance.getEntriesByType('navigation')[0] ?? {}
    const fields = [...draft.elements].filter(({ name }) => name)
    if (type === 'reload' && kept?.id === draft.dataset.draft)
      for (const field of fields) {
        if (field.type === 'checkbox') field.checked = kept.values[field.name] === true
        else field.value = kept.values[field.name] ?? field.value
      }
    let isLeft = false
    const leave = () => {
      isLeft = true
    }
    draft.addEventListener('submit', leave)
    for (const link of draft.querySelectorAll('a:not([target])')) link.addEventListener('click', leave)
    addEventListener('pagehide', () => {
      if (isLeft) return
      const values = fields.map((field) => [
        field.name,
        field.type === 'checkbox' ? field.checked : field.value,
      ])
      sessionStorage.setItem(
        key,
        JSON.stringify({ id: draft.dataset.draft, values: Object.fromEntries(values) }),
      )
    })
  }
}
