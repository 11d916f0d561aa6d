// Small helps. Without JavaScript the addresses are there to be selected by hand.
{
  // Screen readers announce what has been copied.
  const status = document.createElement('p')
  status.className = 'sso-unseen'
  status.setAttribute('role', 'status')
  document.querySelector('main').append(status)

  for (const field of document.querySelectorAll('[data-copy]')) {
    const [copy, copied, byHand] = JSON.parse(field.closest('[data-texts]').dataset.texts)
    const button = document.createElement('button')
    button.type = 'button'
    button.className = 'sso-button admin-button'
    button.textContent = copy
    button.setAttribute('aria-label', field.dataset.copy)
    button.addEventListener('click', async () => {
      field.select()
      try {
        await navigator.clipboard.writeText(field.value)
        button.textContent = copied
      } catch {
        // It is selected: the keyboard does the rest.
        button.textContent = byHand
      }
      status.textContent = button.textContent
      setTimeout(() => {
        status.textContent = ''
        button.textContent = copy
      }, 2000)
    })
    field.after(button)
  }

  // The addresses follow the name that they are made of.
  const slug = document.getElementById('field-slug')
  slug?.addEventListener('input', () => {
    if (!/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/.test(slug.value)) return
    for (const shown of document.querySelectorAll('[data-template]'))
      shown['value' in shown ? 'value' : 'textContent'] = shown.dataset.template.replace('{slug}', slug.value)
  })

  // A menu closes like one of the system: by Escape, or by a click elsewhere.
  const openMenus = () => document.querySelectorAll('.admin-menu[open]')
  document.addEventListener('click', ({ target }) => {
    for (const menu of openMenus()) if (!menu.contains(target)) menu.open = false
  })
  document.addEventListener('keydown', ({ key }) => {
    if (key !== 'Escape') return
    for (const menu of openMenus()) {
      if (menu.contains(document.activeElement)) menu.querySelector('summary').focus()
      menu.open = false
    }
  })
}
