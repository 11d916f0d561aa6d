// Presses "Continue" for the person. Without JavaScript the button does the same.
{
  const form = document.getElementById('continue')
  const button = form.querySelector('button')
  // An answer counts once: neither a click while the form is on its way, nor coming back to this page, may send it again.
  const wait = () => {
    button.disabled = true
  }
  form.addEventListener('submit', wait)
  addEventListener('pageshow', (event) => {
    if (event.persisted) button.disabled = false
  })
  if (performance.getEntriesByType('navigation')[0]?.type !== 'back_forward') {
    wait()
    // A field may be called "submit" and hide the form's own method.
    HTMLFormElement.prototype.submit.call(form)
  }
}
