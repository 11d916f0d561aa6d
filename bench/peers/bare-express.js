import express from 'express'
import { guardedPage, serve, staticPicker } from './serve.js'

const app = express()
app.get('/portal', (req, res) => {
  if (!req.headers.cookie) return res.redirect('/login')
  res.send(guardedPage('Person'))
})
// A visitor gets a cookie without any check.
app.get('/sign-in', (_req, res) => res.cookie('name', 'Person').redirect('/portal'))
app.get('/login', (_req, res) => res.send(staticPicker))
serve(app)
