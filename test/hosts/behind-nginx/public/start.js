navigator.serviceWorker.register('/worker.js')
navigator.serviceWorker.addEventListener('controllerchange', () => {
  document.querySelector('p').textContent = 'The worker is active'
})
