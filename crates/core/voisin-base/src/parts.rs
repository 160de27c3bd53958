//! Splits a type with many methods into parts by subject.

/// Defines parts of a type, each with an accessor that borrows the whole, and, if methods of the part write, a
/// second one that borrows it mutably. A part derefs to the whole.
#[macro_export]
macro_rules! parts {
    ($whole:ident: $($(#[$doc:meta])* $part:ident $read:ident $($write:ident)?;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $part<L>(L);

            impl<L: ::std::ops::Deref<Target = $whole>> ::std::ops::Deref for $part<L> {
                type Target = $whole;

                fn deref(&self) -> &$whole {
                    &self.0
                }
            }

            impl<L: ::std::ops::DerefMut<Target = $whole>> ::std::ops::DerefMut for $part<L> {
                fn deref_mut(&mut self) -> &mut $whole {
                    &mut self.0
                }
            }
        )*

        impl $whole {
            $(
                $(#[$doc])*
                pub fn $read(&self) -> $part<&$whole> {
                    $part(self)
                }

                $(
                    #[doc = concat!("As [`Self::", stringify!($read), "`], for writing.")]
                    pub fn $write(&mut self) -> $part<&mut $whole> {
                        $part(self)
                    }
                )?
            )*
        }
    };
}
