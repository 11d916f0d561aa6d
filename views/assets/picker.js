// Shows which provider opens, and filters the list while the user types. Without JavaScript, links and forms do the same.
{
  const status = document.getElementById('opening')
  let undo

  const begin = (element, restore) => {
    undo?.()
    element.setAttribute('aria-busy', 'true')
    undo = () => {
      element.removeAttribute('aria-busy')
      status.textContent = ''
      restore?.()
    }
  }

  document.addEventListener('click', (event) => {
    const link = event.target.closest('.sso-provider')
    // Another tab opens: this page stays as it is.
    if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
      return
    const name = link.querySelector('.sso-provider-name')
    const parts = [...name.childNodes]
    begin(link, () => name.replaceChildren(...parts))
    const provider = name.querySelector('bdi')
    const [before, after] = status.dataset.opening.split('{}')
    status.textContent = before + provider.textContent + after
    name.replaceChildren(before, provider.cloneNode(true), after)
  })

  // A second click sends nothing, unless the user has stopped the first request.
  document.querySelector('.sso-email-form')?.addEventListener('submit', (event) => {
    const button = event.target.querySelector('button')
    if (button.hasAttribute('aria-busy')) return event.preventDefault()
    begin(button)
    setTimeout(() => undo(), 5000)
  })

  // The browser keeps the page while the user is at the provider, and shows it again after "Back".
  addEventListener('pageshow', ({ persisted }) => {
    if (persisted) undo?.()
  })

  const filter = document.querySelector('.sso-search-live')
  if (filter) {
    const fold = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().trim()
    const count = filter.querySelector('[data-count]')
    const none = filter.querySelector('.sso-search-none')
    const rows = [...document.querySelectorAll('.sso-providers-many > li')].map((row) => ({
      row,
      name: fold(row.querySelector('bdi').textContent),
    }))
    filter.elements.q.addEventListener('input', ({ target }) => {
      const wanted = fold(target.value)
      for (const { row, name } of rows) row.hidden = !name.includes(wanted)
      const shown = rows.filter(({ row }) => !row.hidden).length
      count.textContent = count.dataset.count.replace('{}', shown)
      none.hidden = shown > 0
    })
  }
}
