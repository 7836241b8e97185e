//! What the attributes expand to.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser};
use syn::visit_mut::{VisitMut, visit_type_mut};
use syn::{Error, Path, Result, ReturnType, Signature, Token, Type, Visibility, braced, token};

/// One attribute: its name, and the function that it stands for.
pub(crate) struct Attribute {
    name: &'static str,
    scope: &'static str,
}

/// The crate that users know it from.
pub(crate) enum Home {
    /// `dbrouter` itself.
    Engine,
    /// An adapter of this name, which re-exports `dbrouter`.
    Adapter(&'static str),
}

impl Attribute {
    pub(crate) const ON_REPLICA: Self = Self {
        name: "on_replica",
        scope: "with_replica",
    };
    pub(crate) const ON_PRIMARY: Self = Self {
        name: "on_primary",
        scope: "with_primary",
    };
    pub(crate) const WITHOUT_WRITES: Self = Self {
        name: "without_writes",
        scope: "without_writes",
    };

    /// The function as a scope; or a compile error, and the function as it was, so that it is the only one.
    pub(crate) fn expand(
        &self,
        home: &Home,
        arguments: TokenStream,
        item: &TokenStream,
    ) -> TokenStream {
        self.try_expand(home, arguments, item.clone())
            .unwrap_or_else(|error| {
                let error = error.into_compile_error();
                quote!(#error #item)
            })
    }

    fn try_expand(
        &self,
        home: &Home,
        arguments: TokenStream,
        item: TokenStream,
    ) -> Result<TokenStream> {
        let renamed = (|input: ParseStream<'_>| self.arguments(input)).parse2(arguments)?;
        let function = (|input: ParseStream<'_>| self.function(input)).parse2(item)?;
        let path = home.path(renamed);
        let scope = Ident::new(self.scope, Span::call_site());
        let Function {
            attributes,
            visibility,
            signature,
            inner_attributes,
            body,
        } = function;
        let returned = fake_return(&signature.output);
        Ok(quote! {
            #(#attributes)*
            #visibility #signature {
                #(#inner_attributes)*
                #path::scope::#scope(async move {
                    #returned
                    #body
                })
                .await
            }
        })
    }

    /// `crate = path`, or nothing.
    fn arguments(&self, input: ParseStream<'_>) -> Result<Option<Path>> {
        if input.is_empty() {
            return Ok(None);
        }
        let name = self.name;
        let problem = format!("`{name}` knows one argument: `{name}(crate = path::to::it)`");
        if !input.peek(Token![crate]) {
            return Err(input.error(problem));
        }
        input.parse::<Token![crate]>()?;
        input.parse::<Token![=]>()?;
        let path = input.call(Path::parse_mod_style)?;
        input.parse::<Option<Token![,]>>()?;
        match input.is_empty() {
            true => Ok(Some(path)),
            false => Err(input.error(problem)),
        }
    }

    fn function(&self, input: ParseStream<'_>) -> Result<Function> {
        let name = self.name;
        let wrong =
            |span, problem| Error::new(span, format!("`{name}` goes on an async {problem}"));
        let attributes = input.call(syn::Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let begins = input.span();
        let signature: Signature = input
            .parse()
            .map_err(|_| wrong(begins, "function, and this is none"))?;
        if signature.asyncness.is_none() {
            let problem = "function: a scope lasts as long as a future does";
            return Err(wrong(signature.fn_token.span, problem));
        }
        if !input.peek(token::Brace) {
            return Err(wrong(input.span(), "function that has a body"));
        }
        let content;
        braced!(content in input);
        Ok(Function {
            attributes,
            visibility,
            signature,
            inner_attributes: content.call(syn::Attribute::parse_inner)?,
            body: content.parse()?,
        })
    }
}

impl Home {
    /// The path to `dbrouter`. `renamed` is what its user calls the crate that the attribute came from.
    fn path(&self, renamed: Option<Path>) -> TokenStream {
        match (self, renamed) {
            (Self::Engine, None) => quote!(::dbrouter),
            (Self::Engine, Some(path)) => path.into_token_stream(),
            (Self::Adapter(name), None) => {
                let name = Ident::new(name, Span::call_site());
                quote!(::#name::dbrouter)
            }
            (Self::Adapter(_), Some(path)) => quote!(#path::dbrouter),
        }
    }
}

/// An async function, whose body need not be understood.
struct Function {
    attributes: Vec<syn::Attribute>,
    visibility: Visibility,
    signature: Signature,
    inner_attributes: Vec<syn::Attribute>,
    body: TokenStream,
}

/// A `return` that never runs, from which the compiler learns what the block is to return: a block has no place for
/// a type, and without one `?` and coercions would not know what they lead to.
fn fake_return(output: &ReturnType) -> Option<TokenStream> {
    let ReturnType::Type(_, returned) = output else {
        return None;
    };
    let mut returned = Type::clone(returned);
    if matches!(returned, Type::Never(_)) {
        return None;
    }
    Erase.visit_type_mut(&mut returned);
    let output = Ident::new("output", Span::mixed_site());
    Some(quote! {
        #[allow(clippy::all, clippy::pedantic, unreachable_code, unused)]
        if false {
            let #output: #returned = loop {};
            return #output;
        }
    })
}

/// Leaves `impl Trait` to be inferred, which has no name.
struct Erase;

impl VisitMut for Erase {
    fn visit_type_mut(&mut self, part: &mut Type) {
        match part {
            Type::ImplTrait(_) => *part = Type::Infer(syn::parse_quote!(_)),
            part => visit_type_mut(self, part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(home: &Home, arguments: TokenStream, item: &TokenStream) -> String {
        let expanded = Attribute::ON_REPLICA.expand(home, arguments, item);
        expanded.to_string().replace(' ', "")
    }

    #[test]
    fn each_set_finds_the_engine_through_its_own_crate() {
        for (home, arguments, path) in [
            (Home::Engine, quote!(), "{::dbrouter::scope"),
            (Home::Engine, quote!(crate = ours), "{ours::scope"),
            (
                Home::Adapter("dbrouter_sqlx"),
                quote!(),
                "{::dbrouter_sqlx::dbrouter::scope",
            ),
            (
                Home::Adapter("dbrouter_sqlx"),
                quote!(crate = ::a::b,),
                "{::a::b::dbrouter::scope",
            ),
        ] {
            let expanded = expanded(
                &home,
                arguments,
                &quote!(
                    async fn f() {}
                ),
            );
            let call = format!("{path}::with_replica(asyncmove{{}}).await");
            assert!(expanded.contains(&call), "{expanded}");
        }
    }

    #[test]
    fn what_is_wrong_is_the_only_error() {
        let expanded = expanded(
            &Home::Engine,
            quote!(),
            &quote!(
                fn f() {}
            ),
        );
        assert!(expanded.contains("compile_error") && expanded.ends_with("fnf(){}"));
    }

    #[test]
    fn nothing_else_of_the_function_changes() {
        let item = quote! {
            /// Documented.
            #[inline]
            pub(crate) async unsafe fn f<'a, T: X>(&'a self, (a, mut b): (T, u8)) -> Result<impl Y + 'a, T> where T: Z {
                #![allow(dead_code)]
                b += 1;
                g(a, b)
            }
        };
        let head = item.to_string().replace(' ', "");
        let head = head.split_once("{#!").map(|(head, _)| head.to_owned());
        let expanded = expanded(&Home::Engine, quote!(), &item);
        assert!(
            head.is_some_and(|head| expanded.starts_with(&head)),
            "{expanded}"
        );
        assert!(
            expanded.contains("{#![allow(dead_code)]::dbrouter"),
            "{expanded}"
        );
        assert!(expanded.contains(":Result<_,T>=loop"), "{expanded}");
        assert!(expanded.contains("b+=1;g(a,b)"), "{expanded}");
    }
}
